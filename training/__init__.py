"""Training: executed (`samvlm train RECIPE`), never imported by samvlm."""
