"""What tables of governments, companies and shops talk about: places, line items of accounts, goods, agencies."""

from .words_science import listed

COUNTRIES = listed(
    "Austria; Belgium; Bulgaria; Croatia; Cyprus; Czech Republic; Denmark; Estonia; Finland; France; Germany; Greece; "
    "Hungary; Ireland; Italy; Latvia; Lithuania; Luxembourg; Malta; Netherlands; Poland; Portugal; Romania; Slovakia; "
    "Slovenia; Spain; Sweden; United Kingdom; Iceland; Liechtenstein; Norway; Switzerland; Turkey; Ukraine; Russia; Serbia; "
    "Albania; Bosnia and Herzegovina; Montenegro; United States; Canada; Mexico; Brazil; Argentina; Chile; Colombia; Peru; "
    "Venezuela; Ecuador; Bolivia; Uruguay; Paraguay; Guatemala; Costa Rica; Panama; Cuba; Jamaica; Haiti; Japan; China; "
    "Hong Kong, China; Republic of Korea; Korea; India; Pakistan; Bangladesh; Sri Lanka; Nepal; Indonesia; Malaysia; "
    "Philippines; Singapore; Thailand; Viet Nam; Cambodia; Australia; New Zealand; South Africa; Nigeria; Kenya; Ethiopia; "
    "Ghana; Uganda; Tanzania; Zambia; Zimbabwe; Mozambique; Malawi; Rwanda; Senegal; Mali; Niger; Côte d'Ivoire; Cameroon; "
    "Egypt; Morocco; Algeria; Tunisia; Israel; Jordan; Lebanon; Saudi Arabia; Iran; Iraq; Kuwait; Kazakhstan; Uzbekistan"
)
STATES = {
    "Northeast": listed(
        "Connecticut; Maine; Massachusetts; New Hampshire; New Jersey; New York; Pennsylvania; Rhode Island; Vermont"
    ),
    "Midwest": listed(
        "Illinois; Indiana; Iowa; Kansas; Michigan; Minnesota; Missouri; Nebraska; North Dakota; Ohio; South Dakota; "
        "Wisconsin"
    ),
    "South": listed(
        "Alabama; Arkansas; Delaware; District of Columbia; Florida; Georgia; Kentucky; Louisiana; Maryland; Mississippi; "
        "North Carolina; Oklahoma; South Carolina; Tennessee; Texas; Virginia; West Virginia"
    ),
    "West": listed(
        "Alaska; Arizona; California; Colorado; Hawaii; Idaho; Montana; Nevada; New Mexico; Oregon; Utah; Washington; Wyoming"
    ),
}
REGIONS = listed(
    "World; Europe; Asia; Africa; North America; Latin America and the Caribbean; Oceania; Middle East; East Asia and Pacific; "
    "South Asia; Sub-Saharan Africa; OECD countries; EU-15; EU-27; EU Total; Euro area; Developing countries; Low income; "
    "High income; London; North East; North West; Yorkshire and the Humber; East Midlands; West Midlands; East of England; "
    "South East; South West; Wales; Scotland; Northern Ireland; England; Bayern; Baden-Württemberg; Hessen; Sachsen; "
    "Île-de-France; Provence; Bretagne; Lombardia; Piemonte; Toscana; Sicilia; Cataluña; Andalucía; Ontario; Québec; "
    "British Columbia; Alberta; Manitoba; Nova Scotia; New South Wales; Victoria; Queensland; Tasmania"
)
# A statement: sections with their line items; the last of each is the sum.
STATEMENTS: dict[str, dict[str, tuple[str, ...]]] = {
    "income": {
        "Revenues": listed(
            "Product sales; Service revenue; Licensing fees; Subscription revenue; Rental income; Interest and fees on "
            "loans; Net sales; Other revenue; Total revenues"
        ),
        "Costs and expenses": listed(
            "Cost of goods sold; Cost of services; Selling, general and administrative; Research and development; "
            "Depreciation and amortization; Restructuring charges; Impairment of goodwill; Marketing and advertising; "
            "Salaries and employee benefits; Occupancy expense; Provision for loan losses; Total costs and expenses"
        ),
        "Other income (expense)": listed(
            "Interest income; Interest expense; Foreign exchange gain (loss); Equity in earnings of affiliates; Gain on sale "
            "of assets; Other, net; Total other income (expense)"
        ),
        "": listed(
            "Income before income taxes; Provision for income taxes; Net income; Net income attributable to "
            "noncontrolling interests; Net income (loss)"
        ),
        "Earnings per share": listed("Basic; Diluted; Dividends declared per common share"),
    },
    "balance": {
        "Current assets": listed(
            "Cash and cash equivalents; Short-term investments; Accounts receivable, net; Inventories; Prepaid expenses; "
            "Deferred income taxes; Other current assets; Total current assets"
        ),
        "Non-current assets": listed(
            "Property, plant and equipment, net; Goodwill; Intangible assets, net; Investments in associates; Long-term "
            "receivables; Other assets; Total assets"
        ),
        "Current liabilities": listed(
            "Accounts payable; Accrued liabilities; Short-term borrowings; Current portion of long-term debt; Deferred "
            "revenue; Income taxes payable; Total current liabilities"
        ),
        "Non-current liabilities": listed(
            "Long-term debt; Pension and postretirement benefits; Deferred tax liabilities; Other long-term liabilities; "
            "Total liabilities"
        ),
        "Stockholders' equity": listed(
            "Common stock; Additional paid-in capital; Retained earnings; Accumulated other comprehensive loss; Treasury "
            "stock, at cost; Total stockholders' equity; Total liabilities and stockholders' equity"
        ),
    },
    "cash": {
        "Cash flows from operating activities": listed(
            "Net income; Depreciation and amortization; Stock-based compensation; Deferred income taxes; Changes in "
            "operating assets and liabilities; Accounts receivable; Inventories; Accounts payable; Other; Net cash provided "
            "by operating activities"
        ),
        "Cash flows from investing activities": listed(
            "Capital expenditures; Acquisitions, net of cash acquired; Purchases of marketable securities; Sales of "
            "marketable securities; Proceeds from sale of property; Net cash used in investing activities"
        ),
        "Cash flows from financing activities": listed(
            "Proceeds from borrowings; Repayment of long-term debt; Dividends paid; Repurchase of common stock; Proceeds "
            "from exercise of stock options; Net cash used in financing activities"
        ),
    },
    "budget": {
        "Receipts": listed(
            "Individual income taxes; Corporation income taxes; Social insurance contributions; Excise taxes; Estate and gift "
            "taxes; Customs duties; Grants from other governments; Fees and charges; Total receipts"
        ),
        "Outlays": listed(
            "National defense; International affairs; Energy; Natural resources and environment; Agriculture; Transportation; "
            "Education, training and employment; Health; Medicare; Income security; Social security; Veterans benefits; "
            "Administration of justice; General government; Net interest; Total outlays"
        ),
        "": listed("Surplus or deficit (–); Debt held by the public; Gross federal debt"),
    },
}
SUBJECTS = listed(
    "Total population; Population (thousands); Households; Labor force; Employment; Unemployment rate; Gross domestic "
    "product; GDP per capita; Consumer price index; Exports; Imports; Trade balance; Current expenditures; Capital outlay; "
    "Enrollment; Public schools; Private schools; Graduates; Teachers; Pupil/teacher ratio; Births; Deaths; Marriages; Life "
    "expectancy; Infant mortality; Crude rate; Hospital beds; Physicians; Motor vehicles; Road accidents; Passengers; "
    "Freight (million tonne-km); Electricity generation; Natural gas; Crude oil; Coal; Nuclear; Hydroelectric; Wind; Solar; "
    "CO2 emissions; Greenhouse gases; Waste generated; Water use; Forest area; Agricultural land; Wheat; Maize; Rice; Soybeans; "
    "Potatoes; Milk production; Cattle; Pigs; Poultry; Fish catches; Housing starts; New orders; Retail sales; Food sales; "
    "Tourist arrivals; Overnight stays; Internet users; Mobile subscriptions; R&D expenditure; Patents; Students; Budget; "
    "Actual; Estimate; Projected; Authorized; Appropriation; Obligations; Number of cases; Number of deaths; Domestic (%); "
    "Imported (%); Unknown (%); Percent change; Percent of total; Share; Median income; Average hours; Hourly earnings; "
    "Poverty rate; Number of awards; Number of inspections; Complaints received; Cases closed; Average cost; Amount paid"
)
AGENCIES = listed(
    "Department of Agriculture; Department of Education; Department of Energy; Department of Health and Human Services; "
    "Department of the Interior; Department of Justice; Department of Labor; Department of Transportation; Department of the "
    "Treasury; Environmental Protection Agency; Federal Aviation Administration; Food and Drug Administration; General "
    "Services Administration; National Science Foundation; Office of Management and Budget; Small Business Administration; "
    "Social Security Administration; Ministry of Finance; Ministry of Health; Ministry of the Environment; European "
    "Commission; European Parliament; Council of Ministers; Court of Auditors; Eurostat; World Bank; Coast Guard; Customs "
    "Service; Forest Service; Geological Survey; Census Bureau; Weather Service; City Council; Planning Office; Public Works; "
    "Fire Department; Police Department; Parks and Recreation; Housing Authority; Water Utility; Transit Authority"
)
DUTIES = listed(
    "Issues permits and monitors compliance with emission limits; Collects monthly data from all member states; Reviews the "
    "annual plan and approves the budget; Provides grants to local authorities and schools; Maintains the register of "
    "approved establishments; Carries out inspections at least once a year; Publishes the results within six months; "
    "Coordinates the response to emergencies; Approved by the board on the recommendation of the committee; Replaces the "
    "system introduced in 1998; Funding is shared between the federal and state governments; Applies to vehicles registered "
    "after 1 January; Includes both full-time and part-time students; Not in force in all member states; Excludes "
    "administrative costs; Voluntary, notification of laboratory results; Compulsory, case-based reporting; Measures the "
    "number of days from application to decision; Training of staff and purchase of equipment; Improved access to drinking "
    "water in rural areas; Under review; Completed ahead of schedule; Delayed by the lack of qualified contractors; Two "
    "studies in progress; Extended to the end of the fiscal year; See the notes at the end of the chapter"
)
GOODS = listed(
    'Office chair; Desk lamp; Printer paper A4; Toner cartridge; USB cable 2 m; Wireless mouse; Keyboard; Monitor 24"; Laptop '
    "stand; Notebook, ruled; Ballpoint pen (blue); Stapler; Filing cabinet; Whiteboard; Projector; Headset; Webcam; External "
    "hard drive 1 TB; Memory card 64 GB; Power supply; Steel bolt M8 × 40; Hex nut M8; Washer; Wood screw 4 × 30; Copper pipe "
    '15 mm; Ball valve 1/2"; Cement 25 kg; Plywood 12 mm; Paint, white, 5 L; Paint brush; Work gloves; Safety goggles; Drill '
    "bit set; Hammer; Extension cord; LED bulb 9 W; Light switch; Fuse 10 A; Battery AA (4 pcs); Coffee beans 1 kg; Green tea; "
    "Mineral water 6 × 1.5 L; Olive oil; Brown rice; Wheat flour; Sugar; Apples; Bananas; Tomatoes; Potatoes; Cheddar cheese; "
    "Yoghurt, plain; Whole milk; Butter; Bread; Chicken breast; Salmon fillet; Tomato soup; Caesar salad; Pizza Margherita; "
    "Grilled steak; House wine; Consulting services; Installation; Delivery; Maintenance contract; Annual licence; Training, "
    "half day; Travel expenses; Hosting (monthly); Domain registration; Logo design; Translation, per page; Cleaning service"
)
BRANDS = listed(
    "Procter & Gamble; Unilever; Nestlé; Henkel; Colgate-Palmolive; Siemens; Bosch; Philips; Sony; Toyota; Ford; Tesco; "
    "Carrefour; Aldi; Walmart; Intel; Acme Corp.; Northern Bank; First National; Globe Insurance; Atlas Energy; United Airways; "
    "Delta Foods; Orion Media; Summit Health; Pacific Gas; Sterling & Sons; Harbour Trust; Alpine Foods; Meridian Capital"
)
STOPS = listed(
    "Central Station; Airport; Market Square; University; City Hall; Harbour; Main Street; Park Avenue; North Gate; Old Town; "
    "Hospital; Stadium; Museum; Riverside; Hill Road; Mill Lane; Bridge Street; Victoria Park; Grand Hotel; Opera House"
)
COURSES = listed(
    "Mathematics; Physics; Chemistry; Biology; History; Geography; English; French; German; Spanish; Art; Music; Physical "
    "Education; Computer Science; Economics; Philosophy; Literature; Statistics; Linear Algebra; Organic Chemistry; Lunch; "
    "Registration; Opening remarks; Keynote; Coffee break; Poster session; Panel discussion; Workshop; Closing session; Dinner"
)
