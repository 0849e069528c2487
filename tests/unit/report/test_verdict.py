import io

import numpy as np
import pandas as pd
from report_runs import shown

from pneumo_batch.report import parts


def test_summary_is_the_table(full):
    run, page, _, _ = full
    rows, summary = page.tables["summary"], run.summary()
    assert rows[0] == list(summary.columns)
    assert [row[9] for row in rows[1:]] == [shown(value) for value in summary["mean"]]
    assert [row[6] for row in rows[1:]] == [str(value) for value in summary["images"]]
    csv = pd.read_csv(io.BytesIO(run.store.read_bytes("report/figures/summary.csv")))
    np.testing.assert_array_equal(csv["ci_low"].to_numpy(), summary["ci_low"].to_numpy())


def test_verdict_is_that_of_the_run(full):
    run, page, _, _ = full
    found = run.verdict["methods"]["grad_cam"]
    row = next(row for row in page.tables["verdict"] if row[0] == "Grad-CAM")
    assert row[1] == found["verdict"] == "sensitive"
    assert row[2] == shown(found["numbers"]["means"]["true_true"])
    assert row[9] == shown(found["numbers"]["difference"]["mean"])
    lead = "Maps of Integrated Gradients and Grad-CAM depend on what the network learnt from the labels: they pass"
    assert any(line.startswith(lead) for line in page.text)
    assert set(found["reasons"]) <= set(page.text)


def test_one_true_and_one_random_variant(pair):
    _, page, _, _ = pair
    row = page.tables["verdict"][1]
    assert row[1:3] == ["inconclusive", parts.MISSING]
    assert any("no TT" in line for line in page.text)
    assert "This run cannot tell" in " ".join(page.text)
