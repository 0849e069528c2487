"""The items of CLAIM 2024: which a run answers, and with what."""

import html

from helpers.report_runs import EVIL, without_test_split

from pneumo_batch.report.paper import claim
from pneumo_batch.report.source import Source

# What no run can know: title to goal, de-identification, annotation, sample size, other data, trial, discussion, money.
AUTHORS_OWN = {1, 2, 3, 4, 5, 6, 11, 15, 16, 17, 18, 21, 33, 34, 41, 44}


def test_there_are_the_44_items_of_the_published_list():
    assert list(claim.ITEMS) == list(range(1, 45))
    named = {7: "Data sources", 20: "Level at which partitions are disjoint", 21: "Intended sample size"}
    named |= {29: "Statistical measures of significance and uncertainty", 33: "Testing on external data"}
    named |= {
        31: "Methods for explainability or interpretability",
        39: "Failure analysis of incorrectly classified cases",
    }
    assert {number: claim.ITEMS[number].name for number in named} == named


def test_what_a_run_cannot_know_is_not_answered(full):
    found = claim.answers(Source(full[0]))
    assert {number for number, answer in found.items() if answer is None} == AUTHORS_OWN


def test_answers_are_those_of_the_run(full):
    run, _, _, _ = full
    found = claim.answers(Source(run))
    assert found[7].text.startswith("Images in folders by split and class: 24 images of 24 patients.")
    assert "1 image rejected: truncated <b>file</b> (1)" in found[8].text
    assert "resized to 32 × 32 pixels" in found[9].text
    assert found[10].text.endswith("Localisation: 6 of 6 images with " + EVIL + " and a region of it.")
    assert "Files 50 pixels wide and 40 to 51 high, modes 24 L." in found[13].text
    assert "10 % of the training images for validation, by patient (seed 0)" in found[19].text
    assert found[20].text.startswith("Patients: none of the test split is in another split.")
    assert found[35].text.startswith(
        "Included, train: 8 images of 8 patients; val: 4 images of 4 patients; test: 12 images of 12 patients. 1 image"
    )
    assert "true_0, true_1 and true_2: true labels, 2 epochs." in found[25].text
    share = run.verdict["methods"]["grad_cam"]["numbers"]["share"]
    assert (
        f"Grad-CAM: L = {share['value']:.3f} ({share['ci_low']:.3f} to {share['ci_high']:.3f}), sensitive."
        in found[37].text
    )
    auroc = run.verdict["variants"]["true_0"]["test"]["auroc"]
    assert f"true_0: AUROC {auroc:.3f} (0.400 to 0.900)" in found[38].text
    confusion = run.verdict["variants"]["true_0"]["test"]["confusion"]
    assert f"true_0: {confusion[0][1]} false positives and {confusion[1][0]} false negatives of 12." in found[39].text
    assert run.record["fingerprint"][:12] in found[42].text


def test_tests_of_the_maps_are_those_that_were_made(full, few):
    assert "data randomization, parameter randomization and comparison with outlined regions." in answer(full, 31)
    assert "is what this run is: data randomization." in answer(few, 31)
    assert "Further arms" not in answer(full, 30)


def test_several_classes_and_arms(many, armed):
    assert " of 18 wrong." in answer(many, 39)
    assert "further arms: some_25, some_50 and fresh;" in answer(armed, 30)
    assert "fresh_7, fresh_8 and fresh_9: fresh weights" in answer(armed, 25)


def test_without_a_test_split_nothing_is_said_of_it(pair):
    source = without_test_split(Source(pair[0]))
    found = {number: answer.text for number, answer in claim.answers(source).items() if answer}
    assert found[20].startswith("There is no test split. Patients with images in both training and validation: 0. ")
    untested = "The networks of true labels were not tested: there are no test images."
    assert found[32].startswith(f"{untested} Accuracy on the training labels: ")
    assert found[38] == found[39] == untested
    source.manifest["split"] = "train"
    found = {number: answer.text for number, answer in claim.answers(source).items() if answer}
    assert found[20].startswith("Every image is in one split, train. ")
    assert "for validation" not in found[19]


def test_no_answer_cites_by_number(full):
    assert all("[" not in answer.text for answer in claim.answers(Source(full[0])).values() if answer)


def test_the_file_has_every_item_and_no_markup_of_others(full):
    text = full[0].store.read_bytes("report/paper/claim.md").decode()
    assert [line.partition(". ")[0] for line in text.splitlines() if line.startswith("- ")] == [
        f"- **{number}" for number in range(1, 45)
    ]
    assert "<script>" not in text
    assert "<b>" not in text
    assert html.escape("truncated <b>file</b>", quote=False) in text
    assert text.count(claim.NOT_ANSWERED) == len(AUTHORS_OWN)


def test_the_page_has_what_is_answered_and_then_the_names_of_the_rest(full):
    run, page, _, _ = full
    found = claim.answers(Source(run))
    lines = [f"{number}. {item.name}" for number, item in claim.ITEMS.items() if found[number] is None]
    assert [line for line in page.text if line in lines] == lines
    assert f"31. Methods for explainability or interpretability: {found[31].text}" in page.text
    assert f"7. Data sources (in part): {found[7].text}" in page.text
    whole = sum(one is not None and one.is_whole for one in found.values())
    assert f"Item by item: {whole} of 44 items answered, {44 - len(AUTHORS_OWN) - whole} in part" in page.text


def answer(run, number):
    return claim.answers(Source(run[0]))[number].text
