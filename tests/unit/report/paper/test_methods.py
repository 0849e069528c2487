"""The methods paragraph: what the job did, and no more."""

import itertools
import re
import shutil
from types import SimpleNamespace

import pytest
import torch
from helpers.report_runs import without_test_split

from pneumo_batch.core.statistics.wording import listed
from pneumo_batch.core.variants import Arm
from pneumo_batch.job.schema.attribution import GradCamOptions
from pneumo_batch.report.paper import arms, claim, methods
from pneumo_batch.report.paper.references import PAPERS, Citations
from pneumo_batch.report.source import Source
from pneumo_batch.rundir.writer import RunWriter

PARTS = {  # words of each part that not every run has
    "models": "Student's t with Satterthwaite's degrees of freedom",
    "permutation": "An exact permutation test",
    "arms": "Further networks were contrasted with those of true labels",
    "targets": "whether maps say which one is explained",
    "localisation": "maps were compared with the outlined region",
    "cascade": "In a parameter randomization test",
    "smprt": "(sMPRT [",
    "emprt": "(eMPRT [",
}


def written(run):
    return methods.write(Source(run[0]))


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("full", {"models", "permutation", "localisation", "cascade", "smprt", "emprt"}),
        ("armed", {"models", "permutation", "arms"}),
        ("few", set()),
        ("pair", set()),
        ("many", set()),
    ],
)
def test_what_a_run_did_and_no_more(name, there, request):
    text = written(request.getfixturevalue(name)).text
    assert {part for part, words in PARTS.items() if words in text} == there


@pytest.mark.parametrize("name", ["full", "armed", "few", "pair", "many"])
def test_marks_count_from_one_in_the_order_of_the_text_and_each_has_its_reference(name, request):
    found = written(request.getfixturevalue(name))
    marks = [int(mark) for group in re.findall(r"\[([\d, ]+)\]", found.text) for mark in group.split(", ")]
    assert list(dict.fromkeys(marks)) == list(range(1, len(found.references) + 1))
    assert set(found.references) <= {paper.text for paper in PAPERS.values()}


def test_three_of_a_kind_speak_of_other_models(full):
    text = written(full).text
    assert "L = 1 − k / h is the label share" in text
    assert "delete-one jackknife variances over the true and over the random networks [" in text
    assert "100 bootstrap resamples of patients (floors by their projection" in text
    assert "all 20 labelings of the networks as true and random" in text
    assert "smallest possible p = 0.0500" in text
    assert "sensitive when the interval of L lies above 0.5 and the permutation p is at most 0.05" in text
    assert "3 networks (cnn5) were trained on the true labels (seeds 0, 1 and 2) for 15 epochs and 3 on" in text
    assert "4 of 12 training images were set aside for validation, by patient" in text
    assert "(TTx, TNx; at most 16 such images each)" in text


def test_two_of_a_kind_speak_of_themselves(few):
    text = written(few).text
    assert "percentile intervals from 100 bootstrap resamples of patients: they hold for these networks only" in text
    assert "jackknife" not in text
    assert "inconclusive otherwise (always with fewer than 3 networks of a kind)." in text


def test_one_of_a_kind_has_no_headroom(pair):
    text = written(pair).text
    assert "1 network (cnn5) was trained on the true labels (seed 0)" in text
    assert "No image had all four similarities, so neither h nor L could be measured." in text


def test_regions_and_layers_are_those_of_the_run(full):
    text = written(full).text
    assert re.search(r"On 6 images with PNEUMONIA.* of 6 patients, where boxes or masks outline it", text)
    assert (
        "beside the mean mask of training films, Sobel edges, maps of an image of another patient and maps of the"
        in text
    )
    assert (
        "the 3 layers of true_0 were re-initialised from the output down, and each layer also alone, with 2 draws"
        in text
    )
    assert "averaged over 5 inputs with Gaussian noise of 0.1 of the input's range (sMPRT" in text
    assert "histogram (100 bins) was measured as well (eMPRT" in text


def test_arms_are_told_with_what_makes_them_invalid(armed):
    text = written(armed).text
    assert re.search(r"3 with 25 % of the labels permuted \[\d+\] \(some_25, seeds 25, 26 and 27\)", text)
    assert "and 3 with fresh weights (fresh, seeds 7, 8 and 9); those with permuted labels were trained until" in text
    assert "or one with permuted labels did not memorise them" in text
    assert "What do neural networks learn when trained with random labels?" in " ".join(written(armed).references)


@pytest.mark.parametrize(
    ("arm", "papers"),
    [
        (Arm("random", "permuted"), []),
        (Arm("none", "permuted", 0.0), []),
        (Arm("half", "permuted", 0.5), ["maennel"]),
        (Arm("people", "permuted", unit="patient"), ["chaibub_neto_2019"]),
        (Arm("strata", "permuted", within=("view",)), ["chaibub_neto_2018"]),
        (Arm("blocks", "permuted", 1.0, "patient", ("view",)), ["chaibub_neto_2019", "chaibub_neto_2018", "winkler"]),
        (Arm("fresh", "untrained"), []),
        (Arm("sex", "column:sex"), ["yona"]),
        (Arm("other", "true", network="resnet18"), ["arun_2021"]),
    ],
)
def test_an_arm_is_cited_by_what_it_changes(arm, papers):
    cite = Citations()
    marks = arms.sources(arm, cite)
    assert list(cite.papers) == [PAPERS[name] for name in papers]
    assert bool(marks) == bool(papers)


def test_conditions_name_what_arms_there_are():
    def of(*found, tested=True, memorised=1.0):
        specs = [SimpleNamespace(arm=arm) for arm in found[1:]]
        test = SimpleNamespace(auroc_interval=(0.6, 0.8) if tested else (None, None))
        models = {"one": SimpleNamespace(test=test, memorised=memorised)}
        results = SimpleNamespace(contrast=found[0].name, arms={}, variants=models)
        job = SimpleNamespace(arms={found[0].name: found[0]}, arm=specs)
        return listed(arms.conditions(SimpleNamespace(results=results, job=job)), "or")

    assert "memorise" not in of(Arm("fresh", "untrained"))
    assert of(Arm("random", "permuted")).endswith("or one with permuted labels did not memorise them")
    assert of(Arm("random", "permuted"), Arm("sex", "column:sex")).endswith(
        "one with permuted labels did not memorise them or one trained on another column was not known to be better"
        " than chance at that"
    )
    knowing = "with fully permuted labels knew the true ones (the interval of its AUROC"
    assert knowing in of(Arm("random", "permuted"))
    assert knowing not in of(Arm("half", "permuted", 0.5))
    both = Arm("random", "permuted"), Arm("sex", "column:sex")
    assert of(*both, tested=False) == "a network with permuted labels did not memorise them"
    assert "memorise" not in of(*both, memorised=None)
    assert of(*both, tested=False, memorised=None) == listed([])


def test_a_run_without_a_test_split_says_nothing_of_it(full):
    source = without_test_split(Source(full[0]))
    text = methods.write(source).text
    assert "invalid when the interval of h reaches 0 or a network with permuted labels did not memorise them;" in text
    assert "better than chance" not in text
    source.manifest["split"] = "train"
    assert "set aside" not in methods.write(source).text


def test_a_run_that_trained_nothing_speaks_of_the_images_that_it_explained(full):
    source = Source(full[0])
    train = source.job.train.model_copy(update={"true_seeds": [], "random_seeds": []})
    job = source.job.model_copy(update={"train": train, "arm": []})
    source.job = job
    rows = source.manifest[source.manifest["split"] == "test"]
    text = methods._data(source, Citations())
    assert f"to {len(rows)} images of {rows['patient_id'].nunique()} patients, " in text
    assert "training" not in text
    assert "validation" not in text


def test_labels_are_learnt_for_at_most_so_many_epochs(full):
    assert re.search(r"until their balanced accuracy on them was 0\.\d+ or for at most \d+ epochs", written(full).text)


def changed(source, section, **values):
    part = getattr(source.job, section).model_copy(update=values)
    source.job = source.job.model_copy(update={section: part})
    return source


def of_networks(run, folder, networks):
    """A copy of a run, as if its models had these networks in turn."""
    copy = RunWriter(shutil.copytree(run[0].path, folder))
    for name, network in zip(copy.variants(), itertools.cycle(networks), strict=False):
        record = copy.model_record(name)
        if network != "cnn5":
            record["preprocess"] |= {"size": 224, "channels": 3}
        copy.store.write_json(f"models/{name}/model.json", record | {"network": network})
    return Source(copy)


@pytest.mark.parametrize(
    ("networks", "layer"),
    [
        (["cnn5"], "layer conv5.1"),
        (["vit_b_16"], "layer encoder.layers.encoder_layer_11.ln_1"),
        (["densenet121"], "layer features.norm5"),
        (["squeezenet1_1"], "layer classifier.1"),  # the last of its convolutions
        (["cnn5", "resnet18"], "layer conv5.1 of cnn5 and layer4.1 of resnet18"),
        (["not_installed_here:network"], "the layer chosen by the network's architecture"),
    ],
)
def test_grad_cam_names_the_layer_that_it_looks_at(full, tmp_path, networks, layer):
    asked = ["grad_cam", "guided_grad_cam", "grad_cam@early"]
    source = of_networks(full, tmp_path / "run", networks)
    changed(source, "attribution", methods=asked, settings={"grad_cam@early": {"layer": "conv2.0"}})
    found = [methods.options(source, method, Citations()) for method in asked]
    assert found == [f" ({layer})", f" ({layer})", " (layer conv2.0)"]


def test_the_guided_method_takes_the_layer_of_the_other_whether_that_is_asked_for_or_not(full):
    source = changed(Source(full[0]), "attribution", grad_cam=GradCamOptions(layer="conv3.0"))
    for asked in (["guided_grad_cam", "grad_cam"], ["guided_grad_cam"]):
        changed(source, "attribution", methods=asked)
        assert methods.options(source, "guided_grad_cam", Citations()) == " (layer conv3.0)"


def test_arithmetic_that_is_less_exact_is_told(full):
    text = written(full).text
    assert "mixed precision" not in text
    assert "TF32" not in text
    source = changed(Source(full[0]), "train", amp=True)
    changed(source, "attribution", allow_tf32=True)
    text = methods.write(source).text
    assert "images drawn equally often from each class, mixed precision on GPUs, no augmentation;" in text
    assert "were upsampled bilinearly; GPUs were allowed to compute products in TF32." in text


def test_the_learning_rate_is_halved_when_torch_does_it(full):
    parameter = torch.nn.Parameter(torch.zeros(1))
    adam = torch.optim.Adam([parameter], lr=1.0)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(adam, factor=0.5, patience=1)
    epochs = 0
    schedule.step(1.0)
    while adam.param_groups[0]["lr"] == 1.0:
        schedule.step(1.0)
        epochs += 1
    text = methods.write(changed(Source(full[0]), "train", plateau_patience=1)).text
    assert f"(halved after {epochs} epochs without a training loss lower by 0.01 %)" in text


@pytest.mark.parametrize(
    ("unknown", "said"),
    [
        ([], "by patient"),
        (["train"], "by patient where one is named"),
        (["train", "val", "test"], "film by film since no patient is named"),
    ],
)
def test_films_without_a_patient_were_not_carved_by_patient(full, unknown, said):
    source = Source(full[0])
    rows = source.manifest["split"].isin(unknown)
    source.manifest.loc[rows, "patient_id"] = [name.rpartition(".")[0] for name in source.manifest["image_id"][rows]]
    assert f"training images were set aside for validation, {said})" in methods.write(source).text
    assert f"of the training images for validation, {said} (seed 0)" in claim.answers(source)[19].text


def test_names_of_versions_are_those_that_computed(full):
    run, _, _, _ = full
    versions, text = run.record["versions"], written(full).text
    assert f"pneumo-batch {versions['pneumo-batch']}" in text
    assert f"PyTorch {versions['torch']}, Captum {versions['captum']}, scikit-image {versions['scikit-image']}" in text


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (
            ["true", "true", "random"],
            "3 networks (cnn5) were trained outside this run, 2 on the true labels and 1 on random labels.",
        ),
        (["true"], "1 network (cnn5) was trained outside this run, on the true labels."),
        ([], ""),
    ],
)
def test_models_that_were_brought_along_were_not_trained_here(kinds, said):
    specs = [SimpleNamespace(kind=kind) for kind in kinds]
    job = SimpleNamespace(variant=specs, network=SimpleNamespace(name="cnn5"))
    assert methods._brought(SimpleNamespace(job=job)) == said
