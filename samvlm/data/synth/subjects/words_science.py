"""What tables of journals talk about: variables with their levels, species, genes, methods, items of questionnaires."""

from collections.abc import Sequence


def listed(text: str) -> tuple[str, ...]:
    """The entries of a text that are separated by semicolons."""
    return tuple(" ".join(part.split()) for part in text.split(";"))


# A variable and its levels; "" where it is a figure. U+00B1 and units follow from what is drawn.
CATEGORIES: dict[str, Sequence[str]] = {
    name: listed(levels)
    for name, levels in {
        "Sex": "Male; Female",
        "Gender": "Men; Women",
        "Age group": "<40; 40–59; 60–74; ≥75",
        "Age (years)": "18–34; 35–49; 50–64; ≥65",
        "Race/ethnicity": "White; Black; Hispanic; Asian; Other",
        "Ethnicity": "Caucasian; African American; Asian; Other/unknown",
        "Marital status": "Single; Married; Divorced; Widowed",
        "Education": "Primary school; Secondary school; University degree",
        "Educational level": "Illiterate; Primary; Secondary; Higher",
        "Employment": "Employed; Unemployed; Retired; Student",
        "Smoking status": "Never; Former; Current",
        "Smoking": "Yes; No",
        "Alcohol consumption": "None; Moderate; Heavy",
        "Residence": "Urban; Rural",
        "Occupation": "Farmer; Housewife; Government employee; Merchant; Other",
        "Religion": "Orthodox; Muslim; Protestant; Catholic; Other",
        "Monthly income": "<500; 500–1000; >1000",
        "Tumor stage": "T1; T2; T3; T4",
        "TNM stage": "I; II; III; IV",
        "Histological type": "Adenocarcinoma; Squamous cell carcinoma; Others",
        "Differentiation": "Well; Moderate; Poor",
        "Lymph node metastasis": "Negative; Positive",
        "Tumor size (cm)": "≤5; >5",
        "Tumor location": "Upper; Middle; Lower",
        "Histologic grade": "G1; G2; G3",
        "Distant metastasis": "M0; M1",
        "Vascular invasion": "Absent; Present",
        "HER2 status": "Positive; Negative; Unknown",
        "ECOG performance status": "0; 1; ≥2",
        "Type of surgery": "Open; Laparoscopic; Robotic",
        "Treatment": "Surgery alone; Chemotherapy; Radiotherapy; Combined",
        "Comorbidities": "Hypertension; Diabetes mellitus; Coronary artery disease; COPD; Chronic kidney disease",
        "Comorbidity": "Diabetes; Hypertension; Dyslipidemia; Stroke",
        "BMI (kg/m2)": "<18.5; 18.5–24.9; 25.0–29.9; ≥30",
        "NYHA class": "I; II; III; IV",
        "ASA score": "1; 2; 3; 4",
        "Genotype": "AA; AG; GG",
        "Allele": "A; G; C; T",
        "Medication": "Aspirin; Statins; β-blockers; ACE inhibitors; Diuretics",
        "Medications at discharge": "Aspirin; Clopidogrel; Statin; ACEI/ARB; Beta-blocker",
        "Mode of delivery": "Vaginal; Cesarean section; Instrumental",
        "Parity": "Nulliparous; 1; 2–3; ≥4",
        "Birth weight": "<2500 g; 2500–3999 g; ≥4000 g",
        "Insurance": "Private; Public; None",
        "Hospital type": "Teaching; Community; Private",
        "Season": "Spring; Summer; Autumn; Winter",
        "Source of water": "Piped; Well; River; Rainwater",
        "Physical activity": "Low; Moderate; High",
        "Disease duration": "<1 year; 1–5 years; >5 years",
        "Outcome": "Recovered; Died; Lost to follow-up",
        "Response": "Complete response; Partial response; Stable disease; Progressive disease",
        "Site of infection": "Lung; Urinary tract; Abdomen; Bloodstream; Skin and soft tissue",
        "Symptoms": "Fever; Cough; Dyspnea; Fatigue; Headache; Diarrhea",
        "HIV status": "Positive; Negative; Not tested",
        "Self-rated health": "Very good; Good; Fair; Poor",
    }.items()
}
MEASURES = listed(
    "Age, years; Age at diagnosis; Body mass index; BMI, kg/m2; Height (cm); Weight (kg); Waist circumference (cm); "
    "Systolic blood pressure; Diastolic blood pressure; SBP (mmHg); DBP (mmHg); Heart rate; Heart rate (bpm); "
    "Total cholesterol; HDL cholesterol; LDL cholesterol; Triglycerides; Fasting glucose; HbA1c (%); Hemoglobin; "
    "Hemoglobin (g/dL); Albumin; Serum albumin (g/L); Creatinine; Serum creatinine (μmol/L); eGFR; Urea; ALT (U/L); "
    "AST (U/L); Bilirubin; CRP (mg/L); C-reactive protein; ESR; White blood cell count; Platelet count; Neutrophils; "
    "Lymphocytes; Sodium; Potassium; Calcium; Phosphate; Magnesium; Ferritin; Vitamin D; 25(OH)D (ng/mL); TSH; "
    "Insulin (μU/mL); HOMA-IR; Leptin; Adiponectin; IL-6; TNF-α; Cortisol; Testosterone; LVEF (%); Left atrial diameter; "
    "Stroke volume; Cardiac output; FEV1; FEV1/FVC; VO2max; PaO2; PaCO2; SpO2; pH; Lactate; Operation time (min); "
    "Blood loss (mL); Length of stay; Hospital stay (days); Follow-up (months); Time to event; Survival time; "
    "Gestational age; Birth weight (g); Apgar score; Energy intake (kcal/d); Protein (g); Carbohydrate (g); Fat (g); "
    "Fiber (g); Pain score; VAS score; MMSE; Depression score; Anxiety score; Quality of life; Physical functioning; "
    "Sleep duration; Reaction time (ms); Error rate; Accuracy; Sensitivity; Specificity; Positive predictive value; "
    "Negative predictive value; AUC; Likelihood ratio; Cell viability; Root length; Shoot length; Leaf area; Dry weight; "
    "Fresh weight; Plant height; Grain yield; Chlorophyll content; Soil moisture; Organic matter; Total nitrogen; "
    "Available P; Available K; EC; CEC; Bulk density; Species richness; Shannon index; Temperature; Rainfall; Salinity; "
    "Dissolved oxygen; Turbidity; Biomass; Abundance; Density; Growth rate; Survival rate; Body length; Wing length; "
    "Carapace width; Fecundity; Clutch size; Hatching success; Volume; Thickness; Diameter; Cortical thickness; ADC; "
    "Signal intensity; Fractional anisotropy; Peak amplitude; Latency; Torque; Grip strength; Walking speed; Step length; "
    "Cadence; Range of motion; Flexion; Extension; Bone mineral density; Fat mass; Lean mass; Total energy expenditure"
)
SPECIES = listed(
    "Escherichia coli; Staphylococcus aureus; Pseudomonas aeruginosa; Klebsiella pneumoniae; Mycobacterium tuberculosis; "
    "Bacillus subtilis; Streptococcus pneumoniae; Salmonella enterica; Candida albicans; Saccharomyces cerevisiae; "
    "Aspergillus fumigatus; Plasmodium falciparum; Plasmodium vivax; Trypanosoma cruzi; Leishmania donovani; "
    "Anopheles gambiae; Aedes aegypti; Drosophila melanogaster; Apis mellifera; Caenorhabditis elegans; Danio rerio; "
    "Mus musculus; Rattus norvegicus; Homo sapiens; Gallus gallus; Bos taurus; Sus scrofa; Ovis aries; Canis lupus; "
    "Equus caballus; Xenopus laevis; Arabidopsis thaliana; Oryza sativa; Zea mays; Triticum aestivum; Glycine max; "
    "Solanum lycopersicum; Vitis vinifera; Quercus robur; Pinus sylvestris; Fagus sylvatica; Picea abies; Salmo salar; "
    "Oncorhynchus mykiss; Gadus morhua; Daphnia magna; Lumbricus terrestris; Helicobacter pylori; Vibrio cholerae; "
    "Listeria monocytogenes; Enterococcus faecalis; Clostridium difficile; Neisseria meningitidis; Acinetobacter baumannii; "
    "Haemophilus influenzae; Campylobacter jejuni; Lactobacillus plantarum; Borrelia burgdorferi; Schistosoma mansoni; "
    "Ixodes ricinus; Culex pipiens; Tribolium castaneum; Bombyx mori; Nicotiana tabacum; Medicago truncatula; "
    "Brassica napus; Hordeum vulgare; Populus trichocarpa; Physcomitrella patens; Chlamydomonas reinhardtii; "
    "Thalassiosira pseudonana; Parus major; Turdus merula; Rana temporaria; Lepus europaeus; Macaca mulatta"
)
GENES = (
    "TP53 BRCA1 BRCA2 EGFR KRAS MYC PTEN AKT1 VEGFA TNF IL6 IL10 IL1B IFNG TGFB1 STAT3 JAK2 NFKB1 CDKN1A CDKN2A CCND1 "
    "BCL2 BAX CASP3 CASP9 MMP2 MMP9 TIMP1 COL1A1 FN1 VIM CDH1 ACTB GAPDH HPRT1 B2M SOX2 NANOG POU5F1 KLF4 GATA4 NKX2-5 "
    "APOE APOB LDLR PCSK9 ABCA1 PPARG PPARA FTO MC4R LEP LEPR INS IRS1 SLC2A4 HNF1A TCF7L2 KCNJ11 CYP2D6 CYP3A4 CYP1A1 "
    "CYP2C19 ABCB1 GSTM1 GSTT1 MTHFR COMT BDNF SNCA LRRK2 PARK2 MAPT APP PSEN1 HTT SOD1 FUS TARDBP CFTR DMD HBB HFE F5 "
    "F2 ACE AGT NOS3 EDN1 CRP ICAM1 VCAM1 SELE CD4 CD8A CD14 CD34 CD44 CXCL8 CXCR4 CCL2 TLR2 TLR4 MYD88 FOXP3 HLA-B "
    "HLA-DRB1 ERBB2 ESR1 PGR AR KIT MET ALK BRAF PIK3CA RB1 APC SMAD4 MLH1 MSH2 NOTCH1 WNT5A CTNNB1 HIF1A SIRT1 MTOR "
    "Tnfrsf12a Trib3 Ppargc1a Cebpb Fasn Srebf1 Lpl Ucp1 Adipoq Nr3c1 Crh Pomc Bdnf Gfap Aif1 Il6 Il1b Tnf Gapdh Actb"
).split()
TERMS = listed(
    "cell cycle; cell adhesion; apoptotic process; immune response; inflammatory response; signal transduction; DNA repair; "
    "DNA replication; chromatin modification; chromosome condensation; transcription factor activity; RNA splicing; "
    "protein folding; protein transport; proteolysis; ubiquitin ligase activity; lipid metabolic process; "
    "fatty acid oxidation; cholesterol biosynthesis; glycolysis; citrate cycle; oxidative phosphorylation; "
    "electron transport chain; response to hypoxia; response to oxidative stress; angiogenesis; wound healing; "
    "blood coagulation; ion transport; calcium signaling pathway; MAPK signaling pathway; Wnt signaling; Notch signaling; "
    "insulin signaling pathway; p53 signaling pathway; cytokine–cytokine receptor interaction; chemokine signaling; "
    "T cell activation; B cell receptor signaling; antigen processing and presentation; complement activation; "
    "phagocytosis; axon guidance; synaptic transmission; neurotransmitter secretion; muscle contraction; "
    "actin cytoskeleton organization; extracellular matrix organization; mitotic spindle assembly; meiosis; "
    "cell migration; cell proliferation; stem cell differentiation; embryonic development; photosynthesis; "
    "cell wall organization; response to auxin; nitrogen metabolism; amino acid biosynthesis; purine metabolism; "
    "steroid hormone receptor activity; G-protein coupled receptor; zinc ion binding; ATP binding; kinase activity"
)
CONDITIONS = listed(
    "Hypertension; Diabetes mellitus; Type 2 diabetes; Obesity; Dyslipidemia; Myocardial infarction; Heart failure; "
    "Atrial fibrillation; Stroke; Asthma; COPD; Pneumonia; Tuberculosis; Sepsis; Septic shock; Acute kidney injury; "
    "Chronic kidney disease; Cirrhosis; Hepatitis B; Hepatitis C; Pancreatitis; Crohn's disease; Ulcerative colitis; "
    "Breast cancer; Lung cancer; Colorectal cancer; Gastric cancer; Prostate cancer; Ovarian cancer; Melanoma; Leukemia; "
    "Lymphoma; Multiple myeloma; Depression; Anxiety disorder; Schizophrenia; Bipolar disorder; Dementia; Epilepsy; "
    "Parkinson's disease; Alzheimer's disease; Multiple sclerosis; Migraine; Osteoporosis; Osteoarthritis; "
    "Rheumatoid arthritis; Lupus; Psoriasis; Atopic dermatitis; Anemia; Thrombocytopenia; Malaria; Dengue fever; HIV/AIDS; "
    "Influenza; Urinary tract infection; Preeclampsia; Preterm birth; Gestational diabetes; Low back pain; Hip fracture; "
    "Traumatic brain injury; Cardiac arrest; Pulmonary embolism; Deep vein thrombosis; Sleep apnea; Chronic pain"
)
EVENTS = listed(
    "Nausea; Vomiting; Diarrhea; Constipation; Fatigue; Headache; Dizziness; Rash; Pruritus; Fever; Chills; Anemia; "
    "Neutropenia; Leukopenia; Thrombocytopenia; Febrile neutropenia; Mucositis; Stomatitis; Alopecia; Peripheral neuropathy; "
    "Hypertension; Hypotension; Edema; Dyspnea; Cough; Pneumonia; Infection; Sepsis; Anorexia; Weight loss; Abdominal pain; "
    "Back pain; Arthralgia; Myalgia; Insomnia; Hyperglycemia; Elevated ALT; Elevated AST; Proteinuria; Hemorrhage; "
    "Wound infection; Anastomotic leak; Urinary retention; Deep vein thrombosis; Injection-site reaction; Any adverse event; "
    "Serious adverse events; Death; Drug discontinuation; Nasopharyngitis; Upper respiratory tract infection; Syncope"
)
ITEMS = listed(
    "I feel confident about my ability to manage the disease; My doctor listens to me carefully; "
    "I have difficulty falling asleep at night; I worry about what other people think of me; "
    "The staff treated me with respect; It is easy to obtain an appointment; The training was relevant to my work; "
    "I would recommend this service to a friend; Antibiotics are effective against viruses; "
    "Hand washing reduces the spread of infection; I often feel tired during the day; "
    "The information was easy to understand; Patients should be involved in decisions about their care; "
    "There are enough nurses on the ward; I know where to find help if I need it; Have you ever been tested for HIV?; "
    "Do you use a mosquito net every night?; How often do you eat fruit and vegetables?; "
    "Most people with mental illness are dangerous; Treatment can only calm patients down; "
    "The cost of treatment is a barrier; My supervisor gives me regular feedback; "
    "Management supports a culture of safety; Errors are reported without fear of blame; "
    "I have enough time to complete my tasks; Vaccination is safe for pregnant women; "
    "The results of screening are explained clearly; Students were able to apply what they had learned; "
    "The length of the questionnaire was acceptable; Did you experience any pain during the procedure?; "
    "I am satisfied with my present job; Exercise makes me feel better; The equipment is available when needed; "
    "Guidelines are easily accessible in daily practice; Lack of time during consultations; "
    "Breast milk alone is sufficient for the first six months; Use of the Internet to search for health information"
)
GROUPS = listed(
    "Control; Controls; Cases; Placebo; Intervention; Treatment; Treated; Untreated; Experimental group; Control group; "
    "Group A; Group B; Group C; Group 1; Group 2; Group 3; Low dose; High dose; Baseline; Follow-up; 3 months; 6 months; "
    "12 months; Pre-test; Post-test; Before; After; Men; Women; Boys; Girls; Total; All; Overall; Survivors; Non-survivors; "
    "Responders; Non-responders; Wild type; Knockout; WT; KO; Vehicle; Sham; Training set; Validation set; Cohort 1; "
    "Cohort 2; Discovery; Replication; Surgery; Medical therapy; Usual care; Exposed; Unexposed; HIV+; HIV–; T1; T2; T3; "
    "Day 0; Day 7; Day 14; Week 4; Week 12; Q1; Q2; Q3; Q4; Model 1; Model 2; Model 3; Urban; Rural; Normal; Mild; Severe; "
    "Summer; Winter; Site 1; Site 2; Healthy; Diseased; Young; Elderly; Normal weight; Overweight; Obese; Smokers"
)
DESIGNS = listed(
    "RCT; Cohort; Cross-sectional; Case–control; Case series; Retrospective; Prospective cohort; Randomized, double-blind; "
    "Pilot study; Open label; Crossover; Qualitative; Mixed methods; Systematic review; Before–after study; Case report"
)
FINDINGS = listed(
    "No significant difference between groups; Increased risk of recurrence in the exposed group; "
    "Significant improvement in pain and function at 6 months; Reduced mortality among treated patients; "
    "Higher levels were associated with poor outcome; Improved adherence to medication; "
    "Lower rate of complications and shorter hospital stay; The intervention was feasible and well accepted; "
    "Positive correlation with disease severity; Inhibits proliferation and induces apoptosis; "
    "Binds to the promoter and represses transcription; Participates in the assembly of the ribosome; "
    "Captured in the field without signs of disease; Interviews with health workers in three districts; "
    "Reduced expression in tumor compared with normal tissue; Weekly group sessions of 60 min for 12 weeks; "
    "Education, telephone follow-up and home visits; Standard care plus written information; "
    "Oral administration once daily for 4 weeks; Resolved after withdrawal of the drug; "
    "Loss of function leads to impaired growth; Required for normal development of the heart; "
    "Data were collected by trained interviewers; Self-administered questionnaire; Medical records; "
    "Catalyzes the first step of the pathway; Unknown function, conserved in bacteria; "
    "Included patients older than 18 years; Pregnant women and children under 5; "
    "Early diagnosis and prompt treatment; Screening of blood donors; Provision of clean water and sanitation"
)
METHODS = listed(
    "SVM; Random forest; Logistic regression; Decision tree; k-NN; Naive Bayes; Neural network; LDA; PCA; AdaBoost; Lasso; "
    "Ridge; HMM; BLAST; CNN; LSTM; Baseline; Proposed; Proposed method; Our method; Majority vote; Linear model; "
    "Bayesian model; GLM; Cox model; Kaplan–Meier; ANOVA; t-test; Mann–Whitney; MaxEnt; BIC; AIC; MCMC; UPGMA; Bowtie; BWA; "
    "TopHat; Cufflinks; Velvet; SOAPdenovo; ClustalW; MUSCLE; T-Coffee; PSI-BLAST; DESeq; edgeR; limma; SAM; GSEA; DAVID"
)
QUANTITIES = {
    # what, its sign (marks are put in by the caller), unit
    "Temperature": "K", "Pressure": "MPa", "Wavelength": "Å", "Resolution": "Å", "Flow rate": "mL/min",
    "Voltage": "kV", "Current": "mA", "Diffusion coefficient": "cm²/s", "Rate constant": "min−1",
    "Half-life": "h", "Clearance": "L/h", "Bioavailability": "%", "Molecular weight": "kDa", "Energy": "kcal/mol",
    "Frequency": "Hz", "Field of view": "mm", "Slice thickness": "mm", "Echo time": "ms", "Repetition time": "ms",
    "Concentration": "μM", "Melting temperature": "°C", "Length": "bp", "Viscosity": "mPa s", "Density": "g/cm³",
    "Conductivity": "S/m", "Permeability": "m/s", "Elastic modulus": "GPa", "Stiffness": "N/mm", "Force": "N",
    "Dose": "mg/kg", "Speed": "m/s", "Power": "W", "Area under the curve": "ng·h/mL", "Maximum": "ng/mL",
    "Retention time": "min", "Absorbance": "nm", "Particle size": "nm", "Zeta potential": "mV", "Yield": "%",
    "Unique reflections": "", "Completeness": "%", "Redundancy": "", "Space group": "", "R factor": "", "B factor": "Å²",
    "Number of iterations": "", "Learning rate": "", "Mutation rate": "", "Population size": "", "Step size": "s",
}  # fmt: skip
CITIES = (
    "Beijing Shanghai Guangzhou Tokyo Osaka Seoul Delhi Mumbai Dhaka Karachi Tehran Cairo Nairobi Kampala Lagos Accra Lima "
    "Bogotá Santiago Havana Boston Chicago Houston Seattle Toronto Montréal London Oxford Leeds Paris Lyon Berlin Munich "
    "Köln Zürich Geneva Vienna Graz Rome Milan Madrid Barcelona Lisbon Porto Stockholm Uppsala Oslo Bergen Helsinki Turku "
    "Copenhagen Århus Warsaw Kraków Prague Budapest Athens Istanbul Ankara Melbourne Sydney Auckland Bangkok Hanoi Manila"
).split()
SURNAMES = (
    (
        "Smith Jones Brown Miller Davis Garcia Martinez Lopez Wilson Anderson Thomas Taylor Moore Jackson Martin Lee Thompson "
        "White Harris Clark Lewis Robinson Walker Young Allen King Wright Scott Hill Green Adams Nelson Baker Hall Campbell "
        "Mitchell Carter Roberts Chen Wang Li Zhang Liu Yang Huang Zhao Wu Zhou Xu Sun Kim Park Choi Tanaka Suzuki Sato Yamamoto "
        "Nakamura Kobayashi Patel Singh Kumar Sharma Gupta Khan Ahmed Ali Hassan Hussein Nguyen Tran Müller Schmidt Schneider "
        "Fischer Weber Becker Hoffmann Schäfer Koch Jensen Nielsen Hansen Andersen Johansson Karlsson Nilsson Eriksson Virtanen "
        "Korhonen Rossi Russo Ferrari Bianchi Dubois Laurent Lefèvre Moreau Silva Santos Oliveira Souza Pereira Costa Fernández "
        "González Rodríguez Sánchez Pérez Gómez Kowalski Nowak Novák Horváth Popescu Ivanov Petrov Papadopoulos Yilmaz Demir "
        "Cohen Levy Mensah Okafor Adeyemi Mwangi Tadesse Bekele van der Berg de Vries Jansen Bakker Visser O'Brien Murphy Kelly"
    )
    .replace("van der Berg", "Berg")
    .replace("de Vries", "Vries")
    .split()
)
