import hashlib
import pickle

import numpy as np
import pytest
from PIL import Image
from pyarrow import fs as pafs

from pneumo_batch.core.data import images, manifest, phantom
from pneumo_batch.core.data.audit import audit
from pneumo_batch.core.data.phantom import thorax
from pneumo_batch.core.data.roots import Roots

SICK = ("bacteria", "virus")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom") / "data"
    phantom.write(folder, train=70, test=35, seed=5, image_size=32)
    return folder


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.*")
        if path.is_file()
    }


def chest_and_opacity(seed, subtype, size=96):
    """The scene of `render` before exposure."""
    person_rng, rng = np.random.default_rng(seed).spawn(2)
    pose_rng, opacity_rng, _ = rng.spawn(3)
    chest = thorax.draw(person_rng, pose_rng, size)
    return chest, phantom.opacity(opacity_rng, chest, subtype)


@pytest.mark.parametrize("subtype", [None, *SICK])
def test_the_same_seed_gives_the_same_film(subtype):
    first, second = (phantom.render(np.random.default_rng(3), 64, subtype) for _ in range(2))
    np.testing.assert_array_equal(first.image_HW, second.image_HW)
    np.testing.assert_array_equal(first.mask_HW, second.mask_HW)
    assert (first.image_HW.shape, first.image_HW.dtype, first.mask_HW.dtype) == ((64, 64), np.uint8, bool)
    assert first.subtype == subtype
    assert (phantom.render(np.random.default_rng(4), 64, subtype).image_HW != first.image_HW).any()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("subtype", SICK)
def test_the_opacity_is_where_the_mask_says_and_inside_the_lungs(seed, subtype):
    healthy, nothing_HW = chest_and_opacity(seed, None)
    sick, opacity_HW = chest_and_opacity(seed, subtype)
    mask_HW = phantom.render(np.random.default_rng(seed), 96, subtype).mask_HW
    np.testing.assert_array_equal(healthy.attenuation_HW, sick.attenuation_HW)
    assert not nothing_HW.any()
    np.testing.assert_array_equal(opacity_HW > 0, mask_HW)
    assert opacity_HW.min() == 0
    assert mask_HW.mean() > 0.01
    assert (sick.air_HW[mask_HW] > 0).all()


def test_masks_are_empty_for_normal_films():
    assert not any(phantom.render(np.random.default_rng(seed), 48, None).mask_HW.any() for seed in range(10))


def test_an_opacity_brightens_its_place_against_the_rest_of_the_same_film():
    for seed in range(10):
        for subtype in SICK:
            film = phantom.render(np.random.default_rng(seed), 96, subtype)
            normal = phantom.render(np.random.default_rng(seed), 96, None)
            gain_HW = film.image_HW.astype(float) - normal.image_HW
            assert gain_HW[film.mask_HW].mean() > gain_HW[~film.mask_HW].mean() + 3


def test_bacteria_are_focal_and_viruses_diffuse():
    area = {name: [chest_and_opacity(s, name)[1] for s in range(30)] for name in SICK}
    shares = {name: np.mean([(o_HW > 0).mean() for o_HW in stack]) for name, stack in area.items()}
    sides = {
        name: np.mean([(o_HW[:, :40] > 0).any() and (o_HW[:, 56:] > 0).any() for o_HW in stack])
        for name, stack in area.items()
    }
    assert shares["virus"] > 1.5 * shares["bacteria"]
    assert sides["virus"] > 0.9 > sides["bacteria"] + 0.3


def test_a_scene_is_the_same_at_any_size():
    small = chest_and_opacity(1, "bacteria", 64)[0].attenuation_HW
    large = chest_and_opacity(1, "bacteria", 256)[0].attenuation_HW
    pooled = large.reshape(64, 4, 64, 4).mean((1, 3))
    assert np.corrcoef(small.ravel(), pooled.ravel())[0, 1] > 0.99


def test_the_overall_brightness_says_nothing_of_the_class():
    """The same patients with and without opacities: means differ by far less than between patients."""
    means = {
        subtype: np.array([phantom.render(np.random.default_rng(k), 48, subtype).image_HW.mean() for k in range(60)])
        for subtype in (None, *SICK)
    }
    for subtype in SICK:
        assert abs((means[subtype] - means[None]).mean()) < 0.15 * means[None].std()


@pytest.mark.parametrize("size", [32, 33, 100])
def test_any_size_from_the_smallest(size):
    assert phantom.render(np.random.default_rng(0), size, "virus").image_HW.shape == (size, size)


def test_too_small_a_film_is_refused():
    with pytest.raises(ValueError, match=r"^phantom.image_size is 31: films are at least 32 pixels a side$"):
        phantom.render(np.random.default_rng(0), 31, None)


def test_noise_has_about_unit_deviation():
    fields = [thorax.noise(np.random.default_rng(k), 64, 8) for k in range(50)]
    assert abs(np.std(fields) - 1) < 0.1
    assert abs(np.mean(fields)) < 0.05


def test_shares_of_classes_and_subtypes(root):
    listing, classes = manifest.discover(Roots.one(pafs.LocalFileSystem(), str(root)), None)
    assert classes == ["NORMAL", "PNEUMONIA"]
    rows = listing.group_by(["split", "class_name", "subtype"]).aggregate([("label", "count")]).to_pylist()
    counts = {(row["split"], row["class_name"], row["subtype"]): row["label_count"] for row in rows}
    assert counts == {
        ("train", "NORMAL", None): 30,
        ("train", "PNEUMONIA", "bacteria"): 24,
        ("train", "PNEUMONIA", "virus"): 16,
        ("test", "NORMAL", None): 15,
        ("test", "PNEUMONIA", "bacteria"): 12,
        ("test", "PNEUMONIA", "virus"): 8,
    }
    assert phantom.PNEUMONIA_SHARE * 70 == 40
    assert phantom.BACTERIA_SHARE * 40 == 24


def test_names_are_those_of_the_kaggle_set_and_some_people_have_two_films(root):
    listing, _ = manifest.discover(Roots.one(pafs.LocalFileSystem(), str(root)), None)
    ids = listing["image_id"].to_pylist()
    assert {"train/NORMAL/IM-0001-0001.jpeg", "train/NORMAL/NORMAL2-IM-0003-0001.jpeg"} <= set(ids)
    assert {"train/PNEUMONIA/person1_virus_3.jpeg", "train/PNEUMONIA/person1_bacteria_7.jpeg"} <= set(ids)
    assert {"test/NORMAL/IM-0002-0001.jpeg", "test/PNEUMONIA/person2_virus_4.jpeg"} <= set(ids)
    people = listing["patient_id"].value_counts().to_pylist()
    assert max(row["counts"] for row in people) == 2
    # One film in eight of each kind and split repeats a person: 30, 24, 16, 15, 12 and 8 films.
    assert len(people) == 105 - (3 + 3 + 2 + 1 + 1 + 1)


def test_the_audit_finds_nothing_but_people_of_two_films(root):
    listing, _ = manifest.discover(Roots.one(pafs.LocalFileSystem(), str(root)), None)
    good, bad = manifest.inspect_batch(listing, Roots.one(pafs.LocalFileSystem(), str(root)))
    result = audit(good, bad)
    assert (result.images, result.errors, result.warnings) == (105, [], [])
    assert result.modes == {"NORMAL": {"L": 45}, "PNEUMONIA": {"L": 60}}


def test_films_of_one_person_share_the_chest_and_not_the_pose():
    plans = [plan for plan in phantom._plans("train", 70) if plan.subtype is None]
    (first, again), other = [plan for plan in plans if plan.person == 6], plans[0]
    people = [phantom._generators(5, plan)[0].uniform() for plan in (first, again, other)]
    assert people[0] == people[1] != people[2]
    assert (first.path, again.path) == ("train/NORMAL/IM-0013-0001.jpeg", "train/NORMAL/IM-0013-0002.jpeg")


def test_every_image_has_a_mask_of_its_size(root):
    listing, _ = manifest.discover(Roots.one(pafs.LocalFileSystem(), str(root)), None)
    assert phantom.mask_path("train/PNEUMONIA/person1_virus_5.jpeg") == "masks/train/PNEUMONIA/person1_virus_5.png"
    for row in listing.to_pylist():
        mask_HW = np.asarray(Image.open(root / phantom.mask_path(row["image_id"])))
        assert mask_HW.shape == (32, 32)
        assert set(np.unique(mask_HW)) == ({0, 255} if row["class_name"] == phantom.PNEUMONIA else {0})


def test_written_films_are_the_rendered_ones_up_to_jpeg(root):
    plan = next(iter(phantom._plans("train", 1)))
    film = phantom._film(*phantom._generators(5, plan), 32, plan.subtype)
    pixels_HW = images.Preprocess(32).pixels((root / plan.path).read_bytes())
    assert np.abs(pixels_HW.astype(float) - film.image_HW).mean() < 3


def test_more_images_leave_the_first_ones_as_they_are(root, tmp_path):
    phantom.write(tmp_path / "few", train=20, test=8, seed=5, image_size=32)
    few, many = digests(tmp_path / "few"), digests(root)
    assert len(few) == 2 * 28
    assert few.items() <= many.items()
    phantom.write(tmp_path / "other", train=20, test=8, seed=6, image_size=32)
    other = digests(tmp_path / "other")
    assert other.keys() == few.keys()
    jpegs = [name for name in few if name.endswith(".jpeg")]
    assert all(other[name] != few[name] for name in jpegs)


def test_films_made_in_parts_elsewhere_are_the_same(root, tmp_path):
    def spread(make, numbers):
        assert numbers == list(range(105))
        for part in range(4, -1, -1):
            pickle.loads(pickle.dumps(make))(numbers[part::5])

    phantom.write(tmp_path / "spread", train=70, test=35, seed=5, image_size=32, spread=spread)
    assert digests(tmp_path / "spread") == digests(root)


def test_an_interrupted_generation_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(phantom, "expose", interrupt)
    with pytest.raises(KeyboardInterrupt):
        phantom.write(tmp_path / "data", train=4, test=2, seed=0, image_size=32)
    assert list(tmp_path.iterdir()) == []


def test_existing_files_are_never_replaced(tmp_path):
    (tmp_path / "data").mkdir()
    phantom.write(tmp_path / "data", train=3, test=3, seed=0, image_size=32)
    before = digests(tmp_path / "data")
    with pytest.raises(ValueError, match="is not empty: name a new folder"):
        phantom.write(tmp_path / "data", train=3, test=3, seed=1, image_size=32)
    assert digests(tmp_path / "data") == before
