from pneumo_batch.rundir.record import of_finding

MASS, HERNIA = {"auroc": 0.8}, {"auroc": 0.4}
RECORD = {
    "name": "random_100",
    "kind": "random",
    "findings": ["Mass", "Hernia"],
    "memorised": 0.7,
    "thresholds": {"Mass": 0.3, "Hernia": 0.4},
    "metrics_by_finding": {"test": {"Mass": MASS, "Hernia": HERNIA}},
    "memorisation": {
        "Mass": {"accuracy": 0.99, "balanced_accuracy": 0.97, "majority": 0.9},
        "Hernia": {"accuracy": 0.98, "balanced_accuracy": 0.7, "majority": 0.98},
    },
}


def test_a_model_of_several_findings_read_as_one_of_two_classes():
    found = of_finding(RECORD, "Mass")
    assert (found["threshold"], found["metrics"]) == (0.3, {"test": MASS})
    assert (found["memorised"], found["majority"]) == (0.97, 0.5)
    assert of_finding(RECORD, "Hernia")["memorised"] == 0.7
    assert RECORD["memorised"] == 0.7
    assert "threshold" not in RECORD


def test_a_true_model_memorises_nothing_and_of_a_brought_one_nobody_knows():
    assert of_finding({**RECORD, "memorised": None}, "Mass")["memorised"] is None
    brought = {name: value for name, value in RECORD.items() if name != "memorisation"} | {"memorised": None}
    found = of_finding(brought, "Mass")
    assert found["memorised"] is None
    assert "majority" not in found
