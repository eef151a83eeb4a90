"""Tables, tasks, records and images: everything about data that needs neither torch nor a model."""
