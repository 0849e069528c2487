"""The methods paragraph: what the job did, and no more."""

from pneumo_batch.report.sections import paper
from pneumo_batch.report.source import Source


def test_three_of_a_kind_speak_of_other_models(full):
    run, _, _, _ = full
    text = paper.paragraph(Source(run))
    assert "L = 1 − k / h the label share" in text
    assert "delete-one jackknife variances over the true and over the random networks [5]" in text
    assert "100 bootstrap resamples of patients; 95 % intervals use Student's t with Satterthwaite's" in text
    assert "all 20 labelings of the networks as true and random" in text
    assert "smallest possible p 0.0500" in text
    assert "sensitive when the interval of L lies above 0.5 and the permutation p is at most 0.05" in text
    assert "3 networks (cnn5) were trained on the true labels (seeds 0, 1 and 2)" in text


def test_two_of_a_kind_speak_of_themselves(few):
    run, _, _, _ = few
    text = paper.paragraph(Source(run))
    assert "percentile intervals from 100 bootstrap resamples of patients: they hold for these networks only" in text
    assert "jackknife" not in text
    assert "inconclusive otherwise, which fewer than 3 networks of a kind always are." in text


def test_one_of_a_kind_has_no_headroom(pair):
    run, _, _, _ = pair
    text = paper.paragraph(Source(run))
    assert "1 network (cnn5) was trained on the true labels (seed 0)" in text
    assert "No image had all four similarities, so neither h nor L could be measured." in text


def test_every_mark_has_its_reference_and_every_reference_its_mark(full):
    run, _, _, _ = full
    text, references = paper.paragraph(Source(run)), paper.blocks(Source(run))[-1].items
    assert [place for place in range(1, len(references) + 1) if f"[{place}]" not in text] == []
    assert f"[{len(references) + 1}]" not in text
