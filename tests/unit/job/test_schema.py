import json
import tomllib

import pytest
import tomli_w
from helpers import paths
from helpers.job_fields import sections
from pydantic import BaseModel

from pneumo_batch.errors import JobError
from pneumo_batch.job import jobfile, schema

JOBS = sorted(paths.JOBS.glob("*.toml"))


def leaves():
    for model in sections():
        for name, field in model.model_fields.items():
            inner = getattr(field.annotation, "__args__", (field.annotation,))[0]
            if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
                yield pytest.param(model, name, field, id=f"{model.__name__}.{name}")


@pytest.mark.parametrize(("model", "name", "field"), list(leaves()))
def test_every_field_is_documented_and_says_whether_it_changes_results(model, name, field):
    assert isinstance(field.json_schema_extra, dict), "declare the field with result() or neutral()"
    assert field.json_schema_extra["changes_results"] in (True, False)
    assert field.description


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_shipped_jobs_load(path):
    assert jobfile.load(path).name == path.stem


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_shipped_jobs_go_by_name(path):
    assert jobfile.load(path.stem, ["train.epochs=3"]) == jobfile.load(path, ["train.epochs=3"])
    assert jobfile.shipped_text(path.stem) == path.read_text(encoding="utf-8")


def test_a_file_goes_before_the_shipped_job_of_its_name_and_a_folder_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    assert jobfile.load("demo").name == "demo"
    (tmp_path / "kaggle").write_text('name = "mine"\n')
    assert jobfile.load("kaggle").name == "mine"


def test_an_unknown_shipped_job_is_one_line_that_lists_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, hint = ", ".join(sorted(path.stem for path in JOBS)), r"\(did you mean rigorous\?\)"
    with pytest.raises(JobError, match=f"^rigourous: cannot read .* {hint}; shipped jobs go by name: {names}$"):
        jobfile.load("rigourous")
    with pytest.raises(JobError, match=f"^--from rigourous: no shipped job of that name {hint}; there are: {names}$"):
        jobfile.shipped_text("rigourous")


def test_template_is_a_job_with_the_defaults():
    job = jobfile.parse(tomllib.loads(jobfile.template()), "template")
    assert job == schema.Job(name="my-job")


def test_resolved_job_survives_a_round_trip():
    job = jobfile.load(JOBS[0])
    assert jobfile.parse(json.loads(job.model_dump_json(exclude_none=True)), "dump") == job


CHANGED = [
    ("data.image_size=96", True),
    ("data.root=elsewhere", False),
    ('data.root=["a", "b"]', False),
    ("data.manifest=images.csv", False),  # what it says is among the contents
    ("data.resize=bicubic", True),
    ("data.normalise=imagenet", True),
    ("data.val_fraction=0.2", True),
    ("train.learning_rate=1e-3", True),
    ("train.workers=2", True),
    ("train.max_failures=9", False),
    ("train.random_unit=patient", True),
    ('train.random_within=["view"]', True),
    ("train.random_unit=image", False),
    ("train.random_within=[]", False),
    ("attribution.integrated_gradients.steps=32", True),
    ("attribution.limit=10", True),
    ('attribution.methods=["integrated_gradients@blur", "grad_cam"]', True),
    ("attribution.settings={}", False),
    ("attribution.rows_per_file=8", False),
    ("attribution.store_derived=true", False),
    ("cascade.seeds=[0]", True),
    ("cascade.images=8", False),  # while no seeds switch the stage on
    ("cascade.noisy=50", False),
    ("compare.threshold=0.4", True),
    ("cluster.actors=3", False),
    ("cluster.actors=[2, 8]", False),
    ("cluster.trainings=[1, 4]", False),
    ("data.grows=true", True),
    ("data.max_bad=0.5", False),  # a night with more unreadable films goes on with the same models
    ("data.regions=boxes.csv", False),  # what it says is among the contents
    ("data.regions=none", True),
    ("cluster.address=auto", False),
    ("name=other", False),
]


@pytest.mark.parametrize(("override", "changes"), CHANGED)
def test_fingerprint_covers_what_changes_results_and_nothing_else(tmp_path, override, changes):
    path = tmp_path / "job.toml"
    path.write_text('name = "job"\n[data]\nroot = "images"\n')
    before = jobfile.fingerprint(jobfile.load(path), {"data": "abc"})
    after = jobfile.fingerprint(jobfile.load(path, [override]), {"data": "abc"})
    assert (before != after) == changes


FINDINGS = [
    ('data.findings=["Mass"]', True),
    ("data.format=chexpert", True),
    ("data.uncertain=positive", True),
    ("data.unmentioned=ignore", True),
    ("data.negatives=no_finding", True),
    ('data.views=["PA"]', True),
    ("data.test_fraction=0.3", True),
    ("data.root=elsewhere", False),
]


@pytest.mark.parametrize(("override", "changes"), FINDINGS)
def test_the_fingerprint_of_a_published_set_covers_how_its_labels_are_read(tmp_path, override, changes):
    path = tmp_path / "job.toml"
    path.write_text('name = "job"\n[data]\nroot = "images"\nformat = "nih"\nfindings = ["Pneumonia"]\n')
    before = jobfile.fingerprint(jobfile.load(path), {"data": "abc"})
    assert (before != jobfile.fingerprint(jobfile.load(path, [override]), {"data": "abc"})) == changes


SETTINGS = """
name = "job"
[attribution]
methods = ["integrated_gradients", "integrated_gradients@blur", "integrated_gradients@fine", "grad_cam@early"]
integrated_gradients = { steps = 8 }
[attribution.settings."integrated_gradients@fine"]
steps = 200
[attribution.settings."grad_cam@early"]
layer = "conv3.1"
"""


def test_a_setting_changes_some_options_of_its_method(tmp_path):
    (tmp_path / "job.toml").write_text(SETTINGS)
    job = jobfile.load(tmp_path / "job.toml")
    plain = {"steps": 8, "tolerance": 0.05, "baseline": "black", "rule": "midpoint"}
    assert job.attribution.options_by_method() == {
        "integrated_gradients": plain,
        "integrated_gradients@blur": {**plain, "baseline": "blur"},
        "integrated_gradients@fine": {**plain, "steps": 200},
        "grad_cam@early": {"layer": "conv3.1"},
    }
    again = jobfile.parse(tomllib.loads(tomli_w.dumps(job.model_dump(exclude_none=True))), "dump")
    assert again == job
    other = jobfile.load(tmp_path / "job.toml", ["attribution.settings.integrated_gradients@fine.steps=201"])
    assert other.attribution.options_by_method()["integrated_gradients@fine"]["steps"] == 201
    assert jobfile.fingerprint(other, {}) != jobfile.fingerprint(job, {})


@pytest.mark.parametrize(
    ("methods", "settings", "message"),
    [
        (["grad_cam"], {"grad_cam@early": {"layer": "x"}}, "'grad_cam@early' is not one of attribution.methods"),
        (["grad_cam"], {"grad_cam": {"layer": "x"}}, "'grad_cam' has no @ and a name behind it"),
        (["grad_cam@early"], {}, "'grad_cam@early': this setting has no options"),
        (["grad_cam@Early"], {"grad_cam@Early": {"layer": "x"}}, "what follows the @ must be lower-case letters"),
        (
            ["integrated_gradients@blur"],
            {"integrated_gradients@blur": {"baseline": "mean"}},
            "'integrated_gradients@blur' has the baseline 'mean'",
        ),
    ],
)
def test_settings_that_fit_nothing_are_refused_by_name(methods, settings, message):
    with pytest.raises(JobError, match=f"^job: attribution: .*{message}"):
        jobfile.parse({"name": "x", "attribution": {"methods": methods, "settings": settings}}, "job")


@pytest.mark.parametrize(
    ("override", "changes"),
    [
        ("cascade.noisy=50", True),
        ("cascade.noisy=0", False),
        ("cascade.noise=0.2", False),  # without noisy inputs
        ("cascade.bins=50", True),
        ("cascade.bins=100", False),
    ],
)
def test_later_fields_of_the_cascade_leave_the_fingerprint_of_a_job_that_does_not_use_them(
    tmp_path, monkeypatch, override, changes
):
    monkeypatch.setattr(jobfile.metadata, "version", lambda _: "0")
    monkeypatch.setattr(jobfile, "RESULTS_VERSION", 2)
    path = tmp_path / "job.toml"
    path.write_text('name = "x"\n[data]\nroot = "images"\n[cascade]\nseeds = [0]\n')
    before = jobfile.fingerprint(jobfile.load(path), {"data": "abc"})
    assert before[:16] == "887295f54343ec6f"
    assert (jobfile.fingerprint(jobfile.load(path, [override]), {"data": "abc"}) != before) == changes


def test_named_outputs_change_results(tmp_path):
    path = tmp_path / "job.toml"
    variant = '[[variant]]\nname = "a"\nkind = "true"\ncheckpoint = "a.pt"\n'
    path.write_text(f'name = "job"\n[data]\nroot = "images"\n{variant}')
    before = jobfile.fingerprint(jobfile.load(path), {})
    path.write_text(f'name = "job"\n[data]\nroot = "images"\n{variant}outputs = ["Mass", "", "Edema", ""]\n')
    assert jobfile.fingerprint(jobfile.load(path), {}) != before


def test_the_fingerprint_of_a_job_that_uses_nothing_newer_is_the_one_it_always_had(monkeypatch):
    """With the version of packages and results held still, of two jobs: hashed before later fields joined."""
    monkeypatch.setattr(jobfile.metadata, "version", lambda _: "0")
    monkeypatch.setattr(jobfile, "RESULTS_VERSION", 2)
    folders = schema.Job(name="x", data=schema.Data(root="images"))
    assert jobfile.fingerprint(folders, {"data": "abc"})[:16] == "7ca4ea52c06479d6"
    assert jobfile.fingerprint(schema.Job(name="x"), {})[:16] == "00b3d6b77a1e07d5"


def test_a_manifest_is_a_list_unless_the_job_says_otherwise():
    data = {"root": "films", "manifest": "films.csv"}
    job = jobfile.parse({"name": "x", "data": data}, "job")
    assert job.data.format == "list"
    assert job == jobfile.parse({"name": "x", "data": {**data, "format": "list"}}, "job")
    with pytest.raises(JobError, match=r'^job: data: manifest needs format = "list", not "folders"$'):
        jobfile.parse({"name": "x", "data": {**data, "format": "folders"}}, "job")


def test_a_list_of_one_target_is_the_job_of_that_target():
    one, listed, two = (
        schema.Job(name="x", attribution=schema.Attribution(target=target)) for target in ("A", ["A"], ["A", "B"])
    )
    assert listed == one
    assert one.attribution.targets == ["A"]
    assert jobfile.fingerprint(one, {}) == jobfile.fingerprint(listed, {}) != jobfile.fingerprint(two, {})
    assert two.attribution.suffixes == ["", "__B"]


def test_fingerprint_covers_contents_and_phantom_only_where_it_is_used():
    real = schema.Job(name="x", data=schema.Data(root="images"))
    assert jobfile.fingerprint(real, {"data": "a"}) != jobfile.fingerprint(real, {"data": "b"})
    other = real.model_copy(update={"phantom": schema.Phantom(seed=5)})
    assert jobfile.fingerprint(real, {}) == jobfile.fingerprint(other, {})
    phantom = schema.Job(name="x")
    assert jobfile.fingerprint(phantom, {}) != jobfile.fingerprint(
        phantom.model_copy(update={"phantom": schema.Phantom(seed=5)}), {}
    )


BAD = [
    ("[data]\nimage_sise = 3", "data.image_sise: no such field; did you mean image_size?"),
    ("[[arm]]\nname = 'a'\nlables = 'true'\nseeds = [1]", "arm.0.lables: no such field; did you mean labels?"),
    ("[[variant]]\nnmae = 'a'", "variant.0.nmae: no such field; did you mean name?"),  # not that name is missing
    ("[data]\nimage_size = 65", "data.image_size: Input should be a multiple of 32 (got 65)"),
    ('[data]\nimage_size = "big"', "data.image_size: Input should be a valid integer"),
    ("[data]\nnormalise = [1, -1]", "data.normalise: the standard deviation must be above 0"),
    ('[data]\nnormalise = "imagnet"', "data.normalise: Input should be 'train', 'imagenet' or 'torchxrayvision'"),
    ('[data]\nresize = "nearest"', "data.resize: Input should be 'bilinear', 'bicubic', 'area' or 'lanczos'"),
    ('[data]\nroot = ""', "data.root: needs a folder or URI, or a list of different ones"),
    ("[data]\nroot = []", "data.root: needs a folder or URI, or a list of different ones"),
    ('[data]\nroot = ["a", "a"]', "data.root: needs a folder or URI, or a list of different ones"),
    ('[data]\nmanifest = "x.csv"', "data: manifest needs root: the folder its paths are relative to"),
    ('[data]\nroot = "a"\nmanifest = "x.csv"\nclasses = "subtype"', 'data: classes = "subtype" is for folders'),
    ('[data]\nformat = "nih"', 'data: root: format = "nih" needs one folder or URI, the set as it was downloaded'),
    ('[data]\nroot = ["a", "b"]\nformat = "nih"', 'data: root: format = "nih" needs one folder or URI'),
    ('[data]\nroot = "a"\nformat = "nih"', 'data: findings: format = "nih" needs one, such as ["Pneumonia"]'),
    ('[data]\nroot = "a"\nformat = "nihh"', "data.format: Input should be 'folders', 'list', 'nih', 'chexpert',"),
    ('[data]\nroot = "a"\nformat = "list"', 'data: format = "list" needs manifest: the file that lists the images'),
    ('[data]\nroot = "a"\nfindings = ["A"]', "data: findings needs format: a published set, or a list with a column"),
    ('[data]\nroot = "a"\nformat = "nih"\nfindings = []', "data.findings: needs one or more different names"),
    (
        '[[variant]]\nname = "a"\nkind = "true"\ncheckpoint = "a.pt"\noutputs = ["Mass", "", "", "Mass"]',
        "variant.0.outputs: names an output twice",
    ),
    (
        '[data]\nroot = "a"\nformat = "nih"\nfindings = ["Mass"]\nclasses = ["A", "B"]',
        "data: classes: with findings they are NORMAL and the finding; leave classes out",
    ),
    (
        '[data]\nroot = "a"\nformat = "nih"\nmanifest = "x.csv"\nfindings = ["Mass"]',
        'data: manifest needs format = "list", not "nih"',
    ),
    (
        '[data]\nroot = "a"\nformat = "nih"\nfindings = ["Mass"]\ngrows = true',
        'data: grows: images can join folders and lists, not format = "nih"',
    ),
    ('[data]\nroot = "a"\nuncertain = "positive"', "data: uncertain needs findings: it says how their labels are read"),
    ('[data]\nroot = "a"\nunmentioned = "ignore"', "data: unmentioned needs findings"),
    ('[data]\nroot = "a"\nnegatives = "no_finding"', "data: negatives needs findings"),
    ('[data]\nroot = "a"\nviews = ["PA"]', "data: views needs findings"),
    ('[data]\nroot = "a"\ntest_fraction = 0.5', "data: test_fraction needs findings"),
    (
        '[data]\nroot = "a"\nformat = "nih"\nfindings = ["Mass"]\nviews = ["PA", "PA"]',
        "data.views: needs one or more different names",
    ),
    ('[data]\nclasses = ["A"]', "data.classes: needs two or more different class names"),
    ("[train]\ntrue_seeds = [1]\nrandom_seeds = [1]", "train: true_seeds and random_seeds must not share"),
    ('[train]\nrandom_unit = "film"', "train.random_unit: Input should be 'image' or 'patient' (got 'film')"),
    (
        '[train]\nrandom_within = ["scanner"]',
        "train.random_within.0: Input should be 'view', 'sex', 'site', 'subtype' or 'mode' (got 'scanner')",
    ),
    ('[train]\nrandom_within = ["sex", "sex"]', "train.random_within: names an entry twice"),
    ("[train]\nmemorise = 1.5", "train.memorise: Input should be less than or equal to 1"),
    ("[attribution]\nintegrated_gradients = { step = 1 }", "attribution.integrated_gradients.step: no such field"),
    ("[attribution]\ntarget = []", "attribution.target: needs one name, or several different ones"),
    ('[attribution]\ntarget = ["A", "A"]', "attribution.target: needs one name, or several different ones"),
    (
        '[attribution]\ntarget = ["A", "No B", "No-B"]',
        "attribution.target: maps of 'No B' and 'No-B' would stand in one column, ending with \"true_0__No_B\"",
    ),
    (
        '[attribution]\ntarget = ["A", "b"]\n[[variant]]\nname = "true_0__b"\nkind = "true"\ncheckpoint = "x"',
        "attribution.target: maps of 'A' and 'b' would stand in one column, ending with \"true_0__b\"",
    ),
    ("[attribution]\nlimit = 0", "attribution.limit: Input should be greater than or equal to 1"),
    ('[compare]\nmetrics = ["ssim"]', "compare: primary.metric 'spearman' is not one of compare.metrics"),
    ('[compare]\nprimary = { metric = "hog" }', "compare: primary.metric 'hog' is not defined at the region scale"),
    ("[data]\nimage_size = 32", "compare.metrics: hog needs data.image_size of 64 or more"),
    ("[cascade]\nseeds = [1, 1]", "cascade.seeds: names an entry twice"),
    ("[cascade]\nseeds = [-1]", "cascade.seeds.0: Input should be greater than or equal to 0"),
    ("[train]\ntrue_seeds = [-1]", "train.true_seeds.0: Input should be greater than or equal to 0"),
    ("[train]\nrandom_seeds = [1, 9223372036854775808]", "train.random_seeds.1: Input should be less than 922337203"),
    ("[[arm]]\nname = 'a'\nseeds = [-3]", "arm.0.seeds.0: Input should be greater than or equal to 0"),
    ('[cascade]\nvariant = "true_9"', "cascade.variant: no variant 'true_9'; there are: true_0, random_100"),
    ("[cluster]\nactors = 0", "cluster.actors: must be 1 or more, or auto (got 0)"),
    ("[cluster]\nactors = [4, 2]", "cluster.actors: must not begin with more than it ends with"),
    ("[cluster]\ntrainings = [2, 1]", "cluster.trainings: must not begin with more than it ends with"),
    (
        '[[variant]]\nname = "A-1"\nkind = "true"\ncheckpoint = "x"',
        "variant.0.name: must begin with a lower-case",
    ),
    ('[[variant]]\nname = "a"\nkind = "odd"\ncheckpoint = "x"', "variant.0.kind: Input should be 'true' or 'random'"),
    ('[attribution]\nmethods = "grad_cam"', 'attribution.methods: should be a list, such as ["grad_cam"]'),
    ('[train]\ntrue_seeds = "3, 4"', "train.true_seeds: should be a list, such as [3, 4]"),
    ("[trian]", "trian: no such field; did you mean train?"),
    ("data = 3", "data: Input should be a valid dictionary"),
    ("[train]\nlearning_rate = nan", "train.learning_rate: Input should be a finite number"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[message.split(":")[0] for _, message in BAD])
def test_a_wrong_value_is_one_line_that_names_file_and_field(tmp_path, text, message):
    path = tmp_path / "job.toml"
    path.write_text(f'name = "job"\n{text}\n')
    with pytest.raises(JobError) as caught:
        jobfile.load(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: {message}")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trian.epochs=3"], "--set trian.epochs=3: trian: no such field; did you mean train?"),
        (["train.epoch=3"], "--set train.epoch=3: train.epoch: no such field; did you mean"),
        (["train.epochs=1", "train.epochs=0"], "--set train.epochs=0: train.epochs: Input should be greater"),
        (["train.epochs=1", "cascade.seeds=[-1]"], "--set cascade.seeds=[-1]: cascade.seeds.0: Input should"),
        (["data.manifest=x.csv"], "{path} with --set data.manifest=x.csv: data: manifest needs root"),
        (["train.epochs=1"], "{path}: data.image_size: Input should be a multiple of 32 (got 65)"),
    ],
)
def test_a_wrong_override_is_named_instead_of_the_file(tmp_path, overrides, message):
    path = tmp_path / "job.toml"
    path.write_text('name = "job"\n' + ("[data]\nimage_size = 65\n" if "{path}: " in message else ""))
    with pytest.raises(JobError) as caught:
        jobfile.load(path, overrides)
    assert str(caught.value).startswith(message.format(path=path))


@pytest.mark.parametrize("address", ["http://head:8265", "tcp://head:6379", "ray://head", "head", "Local", ""])
def test_an_address_that_ray_cannot_join_is_told_from_those_it_can(address):
    wanted = r'must be "local", "auto", HOST:PORT or ray://HOST:PORT; http://HOST:8265 is what submit takes'
    with pytest.raises(JobError, match=rf"^job: cluster\.address: {wanted} \(got '{address}'\)$"):
        jobfile.parse({"name": "x", "cluster": {"address": address}}, "job")


@pytest.mark.parametrize("address", ["local", "auto", "10.0.0.1:6379", "[::1]:6379", "ray://head.example.org:10001"])
def test_an_address_that_ray_can_join_is_taken(address):
    assert jobfile.parse({"name": "x", "cluster": {"address": address}}, "job").cluster.address == address


def test_what_a_job_may_be_called_is_told_in_words(tmp_path):
    (tmp_path / "job.toml").write_text('name = "my job"\n')
    with pytest.raises(JobError, match=r"name: must begin with a letter or digit and hold only .* \(got 'my job'\)$"):
        jobfile.load(tmp_path / "job.toml")


def test_unreadable_job_files_say_why(tmp_path):
    with pytest.raises(JobError, match="No such file"):
        jobfile.load(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = \n")
    with pytest.raises(JobError, match="cannot read the job file: Invalid value"):
        jobfile.load(broken)


def test_a_byte_order_mark_before_the_job_is_none_of_it(tmp_path):
    (tmp_path / "job.toml").write_bytes(b'\xef\xbb\xbfname = "mine"\n[data]\nroot = "films"\n')
    assert jobfile.load(tmp_path / "job.toml").name == "mine"


def test_overrides_take_toml_values_and_bare_words(tmp_path):
    path = tmp_path / "job.toml"
    path.write_text('name = "job"\n')
    job = jobfile.load(path, ["data.root=../images", "train.true_seeds=[3, 4]", "attribution.grad_cam.layer=conv4"])
    assert (job.data.root, job.train.true_seeds, job.attribution.grad_cam.layer) == ("../images", [3, 4], "conv4")
    with pytest.raises(JobError, match=r"--set data\.image_size: expected section\.field=value"):
        jobfile.load(path, ["data.image_size"])
    with pytest.raises(JobError, match="name is not a section"):
        jobfile.load(path, ["name.x=1"])
