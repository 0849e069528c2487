import dataclasses

import pytest

from pneumo_batch.core.similarity.per_image import Cell
from pneumo_batch.core.statistics.estimates import CellTest, Deviations, Estimate, Interval, Permutation, Permutations
from pneumo_batch.core.statistics.model_facts import VariantFacts
from pneumo_batch.core.statistics.reading import disagreements, on_every_film, read, without_p
from pneumo_batch.core.statistics.results import Primary
from pneumo_batch.core.statistics.verdict import conclude, decide

MODELS = [
    *(
        VariantFacts(f"true_{i}", "true", auroc=0.95, auroc_low=0.93, training_accuracy=0.99, epochs=15)
        for i in range(3)
    ),
    *(
        VariantFacts(f"random_{i}", "random", memorised=0.96, majority=0.5, training_accuracy=0.96, epochs=20 + i)
        for i in range(3)
    ),
]
TWO_EACH = [*MODELS[:2], *MODELS[3:5]]
MEANS = {"true_true": 0.8, "true_random": 0.5, "true_true_cross": 0.35, "true_random_cross": 0.3}


def span(low, high, sd=None):
    """An estimate whose interval over patients alone is half as wide."""
    middle, quarter = (low + high) / 2, (high - low) / 4
    return Estimate(middle, low, high, Interval(middle - quarter, middle + quarter), 9.0, sd or Deviations())


def models_of(p, smallest_p=1 / 20):
    return Permutations(Permutation(0.3, p, smallest_p, round(1 / smallest_p)))


def numbers(shares=(0.8, 1.0), heads=(0.4, 0.5), p=1 / 20, **fields):
    found = {"headroom": span(*heads), "share": span(*shares), "permutation": models_of(p), **fields}
    return dataclasses.replace(CellTest(600, 400, MEANS), **found)


@pytest.mark.parametrize(
    ("share", "p", "expected"),
    [
        ((0.8, 1.0), 1 / 20, "sensitive"),
        ((0.501, 1.2), 1 / 20, "sensitive"),
        ((0.5, 1.2), 1 / 20, "inconclusive"),  # above the threshold, not at it
        ((0.8, 1.0), 2 / 20, "inconclusive"),  # the models do not bear it out
        ((-0.2, 0.499), 1.0, "insensitive"),
        ((-0.2, 0.5), 1.0, "inconclusive"),
        ((0.3, 0.7), 1 / 20, "inconclusive"),
        ((-0.9, -0.3), 1.0, "insensitive"),
    ],
)
def test_the_rule(share, p, expected):
    assert decide(MODELS, numbers(share, p=p), 0.5).verdict == expected


def test_the_threshold_is_the_jobs():
    assert decide(MODELS, numbers((0.3, 0.45)), 0.25).verdict == "sensitive"
    assert decide(MODELS, numbers((0.3, 0.45)), 0.5).verdict == "insensitive"


def test_reasons_of_a_sensitive_method():
    assert decide(MODELS, numbers(), 0.5).reasons == [
        "Label share L = 0.900 (95 % interval over patients and models 0.800 to 1.000), above the threshold of 0.5:"
        " most of what true models agree on about a film is owed to the labels.",
        "Exact permutation over models, on what they agree on about a film: p = 0.0500 (smallest possible 0.0500).",
    ]


def test_reasons_of_an_insensitive_method():
    assert decide(MODELS, numbers((-0.1, 0.3)), 0.5).reasons == [
        "Label share L = 0.100 (95 % interval over patients and models -0.100 to 0.300), below the threshold of 0.5:"
        " most of what true models agree on about a film is there without the labels.",
    ]


def test_an_undecided_share_says_what_would_narrow_it():
    test = numbers(shares=(0.2, 0.9))
    for sd, part, words in (
        (Deviations(0.2, 0.1, 0.05), "Most", "which true models were trained: more true seeds would narrow it."),
        (Deviations(0.1, 0.2, 0.05), "Most", "which random models were trained: more random seeds would narrow it."),
        (Deviations(0.1, 0.2, 0.3), "Most", "the patients: more of them would narrow it."),
        # variances 0.0088, 0.0702 and 0.0773
        (Deviations(0.094, 0.265, 0.278), "The largest part", "the patients: more of them would narrow it."),
    ):
        found = decide(MODELS, dataclasses.replace(test, share=span(0.2, 0.9, sd)), 0.5)
        assert found.verdict == "inconclusive"
        assert found.reasons[0].endswith("0.200 to 0.900): the interval contains the threshold of 0.5.")
        assert found.reasons[1] == f"{part} of its width comes from {words}"


def test_disagreeing_models_keep_a_high_share_from_being_sensitive():
    found = decide(MODELS, numbers(p=3 / 20), 0.5)
    assert found.verdict == "inconclusive"
    assert found.reasons[0] == (
        "Exact permutation over models, on what they agree on about a film: p = 0.1500, above 0.05: the models differ"
        " too much among themselves."
    )
    found = decide(MODELS, numbers(permutation=Permutations()), 0.5)
    assert found.reasons[1] == "The permutation over models cannot be made: a pair of models has no value."


def test_fewer_than_three_models_of_a_kind_are_inconclusive_and_say_what_holds_for_these():
    few = {"headroom": span(0.4, 0.5), "share": span(0.8, 1.0)}
    few = {name: dataclasses.replace(one, ci_low=None, ci_high=None, df=None) for name, one in few.items()}
    found = decide(TWO_EACH, numbers(p=1 / 6, **few), 0.5)
    assert (found.verdict, found.for_these_models) == ("inconclusive", "sensitive")
    assert found.reasons == [
        "2 true and 2 random models: too few to speak of other models, which takes 3 of each kind.",
        "For these 4 models it would be sensitive: label share L = 0.900 (95 % interval over patients 0.850 to 0.950),"
        " above the threshold of 0.5: most of what true models agree on about a film is owed to the labels.",
    ]
    few["headroom"] = Estimate(0.1, patients=Interval(-0.1, 0.3))
    assert decide(TWO_EACH, numbers(**few), 0.5).for_these_models == "invalid"
    assert decide(MODELS, numbers(), 0.5).for_these_models is None


def test_a_random_variant_that_did_not_memorise_makes_the_test_invalid():
    models = [*MODELS[:5], VariantFacts("random_1", "random", memorised=0.9499, majority=0.5)]
    found = decide(models, numbers(), 0.5)
    assert found.verdict == "invalid"
    assert found.reasons == [
        "random_1 did not memorise its labels: balanced accuracy 0.9499 on them, 0.95 required; a majority guess scores"
        " 0.500. A model that fitted nothing is no reference for random labels."
    ]


def test_a_true_variant_at_chance_makes_the_test_invalid():
    models = [VariantFacts("true_0", "true", auroc=0.55, auroc_low=0.5), *MODELS[1:]]
    found = decide(models, numbers(), 0.5)
    assert found.verdict == "invalid"
    assert found.reasons[0].startswith("true_0 cannot be told from chance on test: AUROC 0.550, interval from 0.500.")


def test_a_random_variant_that_names_one_class_makes_the_test_invalid():
    """270 films of one class and 11 of the other, and the larger for each: an accuracy of 0.961."""
    models = [*MODELS[:5], VariantFacts("random_2", "random", memorised=0.5, majority=0.5)]
    found = decide(models, numbers(), 0.5)
    assert found.verdict == "invalid"
    assert found.reasons[0].startswith("random_2 did not memorise its labels: balanced accuracy 0.5000 on them, 0.95")


def test_true_variants_that_rank_the_wrong_way_round_are_not_called_chance():
    models = [VariantFacts("true_0", "true", auroc=0.05, auroc_low=0.02, auroc_high=0.08), *MODELS[1:]]
    found = decide(models, numbers(), 0.5)
    assert found.verdict == "invalid"
    assert found.reasons == [
        "true_0 ranks test films the wrong way round: AUROC 0.050, interval up to 0.080. Its outputs or the labels seem"
        " to be swapped, so that its maps explain another class than is named."
    ]
    barely = [VariantFacts("true_0", "true", auroc=0.45, auroc_low=0.4, auroc_high=0.5), *MODELS[1:]]
    assert decide(barely, numbers(), 0.5).reasons[0].startswith("true_0 cannot be told from chance on test: AUROC 0.4")


def with_auroc(value, low, high=None, place=3, true=(0.95, 0.85, 0.9)):
    """True models have these AUROCs, on average 0.9: halfway is 0.7. The model at `place` ranks test films so well."""
    models = [dataclasses.replace(one, auroc=known) for one, known in zip(MODELS, true, strict=False)]
    models += MODELS[3:]
    models[place] = dataclasses.replace(models[place], auroc=value, auroc_low=low, auroc_high=high)
    return models


def test_a_random_variant_that_knows_the_true_labels_makes_the_test_invalid():
    found = decide(with_auroc(0.923, 0.853, 0.951), numbers(), 0.5)
    assert found.verdict == "invalid"
    assert found.reasons == [
        "random_0 knows the true labels: AUROC 0.923 on test, interval from 0.853, more than halfway from 0.5 to the"
        " true models' mean of 0.900. Such a model is no reference for random labels."
    ]


def test_a_random_variant_that_knows_the_labels_the_wrong_way_round_makes_the_test_invalid():
    found = decide(with_auroc(0.05, 0.03, 0.08), numbers(), 0.5)
    assert found.verdict == "invalid"
    assert found.reasons == [
        "random_0 knows the true labels the wrong way round: AUROC 0.050 on test, interval up to 0.080, which turned"
        " round is 0.920, more than three quarters of the way from 0.5 to the true models' mean of 0.900. Such a model"
        " is no reference for random labels."
    ]


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (0.8, 0.701, 0.9, "invalid"),
        (0.8, 0.7, 0.9, "sensitive"),  # at halfway, not beyond it
        (0.89, 0.69, 0.99, "sensitive"),  # it may be a lucky one
        (0.1, 0.05, 0.199, "invalid"),
        (0.1, 0.05, 0.201, "sensitive"),  # three quarters of the way are 0.2
        (0.45, 0.3, 0.6, "sensitive"),
        (None, None, None, "sensitive"),
        (None, 0.9, 0.99, "sensitive"),
    ],
)
def test_how_well_a_random_variant_may_rank_test_films(value, low, high, verdict):
    assert decide(with_auroc(value, low, high), numbers(), 0.5).verdict == verdict


def test_beside_moderate_true_models_luck_is_not_knowledge():
    """Random models of 624 films rank them with AUROCs of sd 0.06; true ones here 0.66 to 0.72: halfway is 0.597."""
    moderate = (0.66, 0.70, 0.72)
    models = [dataclasses.replace(one, auroc_low=0.56) for one in with_auroc(0.58, 0.505, 0.64, true=moderate)[:3]]
    lucky = [*models, *with_auroc(0.58, 0.505, 0.64)[3:]]
    assert decide(lucky, numbers(), 0.5).verdict == "sensitive"
    assert any(line.startswith("random_0 ranks test films better than chance") for line in caveats_of(lucky))
    for low, verdict in ((0.62, "sensitive"), (0.621, "invalid")):
        assert decide([*models, *with_auroc(0.66, low, 0.7)[3:]], numbers(), 0.5).verdict == verdict


def test_beside_a_true_variant_at_chance_nothing_is_said_of_what_random_ones_know():
    models = with_auroc(0.58, 0.53, 0.63, true=(0.55, 0.52, 0.9))
    models[1] = dataclasses.replace(models[1], auroc_low=0.45, auroc_high=0.6)
    assert [reason.split()[0] for reason in decide(models, numbers(), 0.5).reasons] == ["true_1"]


def caveats_of(models):
    cell = Cell("m", "magnitude", "region", "spearman")
    return conclude(models, {cell: numbers()}, Primary(*cell[1:]), 0.5)["m"].caveats


def test_a_random_variant_better_than_chance_is_a_caveat():
    better = "random_0 ranks test films better than chance: AUROC 0.750, interval from 0.580."
    lucky = with_auroc(0.75, 0.58, 0.85)
    assert decide(lucky, numbers(), 0.5).verdict == "sensitive"
    assert better in caveats_of(lucky)
    assert "random_0 ranks test films worse than chance: AUROC 0.300, interval up to 0.410." in caveats_of(
        with_auroc(0.3, 0.2, 0.41)
    )
    for known in ((0.75, 0.5, 0.9), (0.3, 0.2, 0.5), (0.923, 0.853, 0.95)):  # the last is invalid
        assert not [line for line in caveats_of(with_auroc(*known)) if "than chance:" in line]
    # where nobody knows how well true models rank films, nothing can be compared
    unknown = [dataclasses.replace(one, auroc_low=None) if one.is_true else one for one in lucky]
    assert decide(unknown, numbers(), 0.5).verdict == "sensitive"
    assert better in caveats_of(unknown)


def test_a_ceiling_that_does_not_exceed_the_floor_makes_the_test_invalid():
    found = decide(MODELS, numbers(heads=(-0.007, 0.019)), 0.5)  # over patients alone -0.0005 to 0.0125
    assert found.verdict == "invalid"
    assert found.reasons == [
        "Two true models agree on a film no more than on films of different patients: h = 0.006 (95 % interval over"
        " patients and models -0.007 to 0.019). There is no reproducible map to test."
    ]
    assert decide(MODELS, numbers(heads=(1e-9, 0.1)), 0.5).verdict == "sensitive"


@pytest.mark.parametrize(
    ("headroom", "nothing"),
    [
        (Estimate(0.006, -0.007, 0.019, Interval(-0.001, 0.013)), True),
        (Estimate(0.006, -0.007, 0.019, Interval(0.001, 0.011)), False),  # these models agree on something
        (Estimate(0.006, -0.008, 0.02, Interval(-0.001, 0.013)), False),
        (Estimate(0.045, -0.005, 0.095, Interval(-0.001, 0.091)), False),  # an h of 0.09 is one of many on real films
    ],
)
def test_that_true_models_agree_on_nothing_is_said_only_where_it_is_known(headroom, nothing):
    found = decide(MODELS, numbers(headroom=headroom), 0.5)
    assert found.verdict == "invalid"
    assert found.reasons[0].endswith("There is no reproducible map to test.") == nothing
    assert found.reasons[0].startswith("It cannot be told whether two true models agree") != nothing


@pytest.mark.parametrize(
    ("sd", "narrower"),
    [
        (Deviations(0.2, 0.0, 0.1), "which true models were trained: more true seeds would narrow it."),
        (Deviations(0.1, 0.0, 0.2), "the patients: more of them would narrow it."),
    ],
)
def test_a_ceiling_that_may_well_exceed_the_floor_is_invalid_but_not_called_nothing(sd, narrower):
    found = decide(MODELS, numbers(headroom=span(-0.079, 0.85, sd)), 0.5)
    assert found.verdict == "invalid"
    assert found.reasons == [
        "It cannot be told whether two true models agree on a film more than on films of different patients: h = 0.386"
        " (95 % interval over patients and models -0.079 to 0.850). There is no map known to be reproducible, which the"
        " test takes.",
        f"Most of the interval's width comes from {narrower}",
    ]
    few = Estimate(0.3, patients=Interval(-0.1, 0.7), sd=sd)
    assert (
        decide(TWO_EACH, numbers(headroom=few), 0.5)
        .reasons[1]
        .startswith("For these 4 models it would be invalid: it cannot be told whether two true models agree")
    )


def test_all_that_is_invalid_is_said_and_comes_before_inconclusive():
    models = [VariantFacts("true_0", "true", auroc_low=0.4), VariantFacts("random_0", "random", memorised=0.7)]
    found = decide(models, numbers(), 0.5)
    assert found.verdict == "invalid"
    assert [reason.split()[0] for reason in found.reasons] == ["true_0", "random_0"]


@pytest.mark.parametrize(("patients", "who"), [(1, "one patient has"), (4, "4 patients have")])
def test_fewer_than_five_patients_are_inconclusive_whatever_else_there_is(patients, who):
    models = [VariantFacts("true_0", "true", auroc_low=0.4), *MODELS[1:]]
    found = decide(models, numbers(patients=patients), 0.5)
    assert found.verdict == "inconclusive"
    assert found.reasons == [f"Only {who} a film with every similarity: no interval can be computed, which takes 5."]


@pytest.mark.parametrize(("effective", "as_many"), [(330**2 / 90030, "1.2"), (4.96, "4.9"), (1.002, "1")])
def test_patients_who_count_as_fewer_than_five_are_inconclusive(effective, as_many):
    found = decide(MODELS, numbers(patients=31, effective_patients=effective), 0.5)
    assert found.verdict == "inconclusive"
    assert found.reasons == [
        f"31 patients count as {as_many}, since some have many more films than others: no interval can be computed,"
        " which takes 5."
    ]
    assert decide(MODELS, numbers(patients=31, effective_patients=5.0), 0.5).verdict == "sensitive"


NOTHING = CellTest(0, 0, {"true_random": 0.5})


def test_missing_models_or_maps_are_inconclusive():
    assert decide([MODELS[0], MODELS[3]], NOTHING, 0.5).reasons == [
        "One true variant: no reproducibility ceiling to compare with."
    ]
    assert decide(MODELS[:2], NOTHING, 0.5).reasons == ["No random variant: nothing to compare with."]
    assert decide(MODELS[3:], NOTHING, 0.5).reasons[0].startswith("No true variant")
    found = decide(MODELS, NOTHING, 0.5)
    assert found.verdict == "inconclusive"
    assert "constant" in found.reasons[0]
    unfit = decide([*MODELS[:-1], dataclasses.replace(MODELS[-1], memorised=0.6)], NOTHING, 0.5)
    assert unfit.verdict == "invalid"
    assert unfit.reasons[1:] == found.reasons  # nor is there a number to it


def caveats(**fields):
    cell = Cell("m", "magnitude", "region", "spearman")
    test = dataclasses.replace(numbers(), **fields)
    return conclude(MODELS, {cell: test}, Primary(*cell[1:]), 0.5)["m"].caveats[1:]


def edges_and(edges, learned):
    """Means of maps with these shares of variance from the film's edges and from what true models share, noise the
    rest: by each pair they share both, and with the edges, which have no noise, the root of the first.
    """
    return {**MEANS, "true_true": edges + learned, "edge": edges**0.5}


def test_maps_that_edges_explain_are_told_whatever_labels_do():
    like_edges = (
        "True models' maps are so like the film's edges (0.800) that edges account for how like each other they are"
        " (0.640): what they show takes no model to find."
    )
    assert caveats(means=edges_and(0.64, 0.0)) == [like_edges]
    assert len(caveats(means=edges_and(0.64, 0.07))) == 1  # 0.64 / 0.71 are more than nine tenths
    assert caveats(means=edges_and(0.64, 0.08)) == []
    # a map of which seven tenths are learned is as like the edges as like another
    assert caveats(means=edges_and(0.09, 0.22)) == []
    assert caveats(means={**MEANS, "true_true": 0.3, "edge": -0.8}) == []
    assert caveats(means={**MEANS, "true_true": -0.2, "edge": -0.1}) == []


def test_few_patients_are_a_caveat():
    few = "25 patients: intervals over so few are somewhat too narrow where some have many more films than others."
    assert caveats(patients=25) == [few]
    assert caveats(patients=26) == []
    assert caveats(patients=4) == []  # which the verdict says
    assert caveats(patients=25, effective_patients=20.0) == [few]
    assert caveats(patients=100, effective_patients=195**2 / 2095) == [
        f"100 patients, who count as 18 by their films{few.removeprefix('25 patients')}"
    ]
    assert caveats(patients=100, effective_patients=25.1) == []
    assert caveats(patients=100, effective_patients=4.9) == []


def test_maps_that_only_one_model_gives_leave_no_interval():
    lost = Estimate(0.4, patients=Interval(0.3, 0.5))
    found = decide(MODELS, numbers(heads=(0.3, 0.5), shares=(0.8, 1.0)), 0.5)
    assert found.verdict == "sensitive"
    found = decide(MODELS, dataclasses.replace(numbers(), headroom=lost), 0.5)
    assert found.verdict == "inconclusive"
    assert found.reasons == ["Without one of the models no film has every similarity: no interval can be computed."]


def test_what_happens_everywhere_is_one_sentence():
    assert on_every_film(numbers(everywhere=span(0.03, 0.07))) == (
        "Everywhere: on films of different patients two true models agree by 0.350, a true and a random one by 0.300;"
        " the difference is 0.050 (95 % interval 0.030 to 0.070), which is the change that random labels make on every"
        " film."
    )
    assert on_every_film(numbers(everywhere=span(-0.03, 0.07))).endswith(
        "-0.030 to 0.070), so random labels change nothing measurable there."
    )
    for low, high in ((-2.7, 2.4), (-0.103, 0.84), (-0.21, 0.01)):
        assert on_every_film(numbers(everywhere=span(low, high))).endswith(
            "too wide an interval to tell what random labels change there."
        )
    assert on_every_film(NOTHING) is None


def test_a_change_everywhere_beyond_what_is_about_a_film_is_said_to_be_no_part_of_it():
    beyond = dataclasses.replace(numbers(everywhere=span(0.5, 0.7)), headroom=Estimate(0.2, 0.1, 0.3))
    assert on_every_film(beyond).endswith(
        "on every film; that is more than true models agree on about any one film (h = 0.200), and no part of L."
    )
    for of in (numbers(everywhere=span(0.1, 0.7)), numbers(everywhere=span(-0.7, -0.5))):
        assert "no part of L" not in on_every_film(dataclasses.replace(of, headroom=Estimate(0.2, 0.1, 0.3)))


def test_with_few_models_what_happens_everywhere_is_said_of_these():
    """With fewer than three of a kind there is no interval over models: it is not one above 0."""
    few = Estimate(0.001, patients=Interval(-0.007, 0.008))
    assert on_every_film(numbers(everywhere=few)).endswith(
        "the difference is 0.001 (95 % interval over patients -0.007 to 0.008), so random labels change nothing"
        " measurable there."
    )
    few = Estimate(0.05, patients=Interval(0.02, 0.08))
    assert on_every_film(numbers(everywhere=few)).endswith(
        "(95 % interval over patients 0.020 to 0.080), which is the change that random labels make on every film."
    )
    assert on_every_film(numbers(everywhere=Estimate(0.05))).endswith("the difference is 0.050.")


REGION, PIXEL = (Cell("m", "magnitude", scale, "spearman") for scale in ("region", "pixel"))
SIGNED = Cell("m", "signed", "region", "spearman")


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ({REGION: "sensitive", PIXEL: "sensitive", SIGNED: "sensitive"}, None),
        (
            {REGION: "insensitive", PIXEL: "insensitive", SIGNED: "sensitive"},
            "Read the sign: signed maps are sensitive (L = 0.95), magnitudes are insensitive (L = 0.10); the verdict is"
            " that of magnitudes.",
        ),
        (
            {REGION: "sensitive", SIGNED: "invalid"},
            "Read the magnitude: magnitudes are sensitive (L = 0.10), signed maps are invalid; the verdict is"
            " that of magnitudes.",
        ),
        (
            {REGION: "sensitive", PIXEL: "inconclusive", SIGNED: "sensitive"},
            "Read regions: regions are sensitive (L = 0.10), pixels are inconclusive (L = 0.20); the verdict is that of"
            " regions.",
        ),
        (
            {REGION: "insensitive", PIXEL: "inconclusive"},
            "Views and scales disagree: pixels of magnitudes are inconclusive (L = 0.20), regions of magnitudes are"
            " insensitive (L = 0.10).",
        ),
        ({REGION: "sensitive", REGION._replace(metric="ssim"): "invalid"}, None),  # metrics have sentences of their own
    ],
)
def test_where_views_or_scales_disagree_a_line_says_what_to_read(outcomes, expected):
    shares = {REGION: 0.1, PIXEL: 0.2, SIGNED: 0.95}
    tests = {cell: numbers(shares=(value, value)) for cell, value in shares.items()}
    assert read(REGION, outcomes, tests) == expected


def test_what_nobody_measured_is_a_caveat_and_training_stands_beside_it():
    mine, theirs = VariantFacts("mine", "true"), VariantFacts("theirs", "random")
    cell = Cell("m", "magnitude", "region", "spearman")
    found = conclude([mine, *MODELS, theirs], {cell: numbers()}, Primary(*cell[1:]), 0.5)["m"]
    assert found.verdict == "sensitive"
    assert found.caveats == [
        "It was not measured whether theirs memorised the random labels: a model that did not is no reference for"
        " them.",
        "It was not measured whether mine is better than chance on test.",
        "Accuracy on the training labels they were given: true models 0.990 after 15 epochs, random models 0.960 after"
        " 20 to 22 epochs.",
    ]
    found = conclude([MODELS[0], theirs], {cell: NOTHING}, Primary(*cell[1:]), 0.5)["m"]
    assert found.caveats[-1] == "The cross-image floor compares one model with itself, which makes it too high."


def test_conclude_reads_the_primary_cell_of_each_method_and_tells_who_disagrees():
    def cell(method, view, scale, metric):
        return Cell(method, view, scale, metric)

    tests = {
        cell("grad_cam", "magnitude", "region", "spearman"): numbers(),
        cell("grad_cam", "signed", "pixel", "spearman"): numbers(),
        cell("saliency", "magnitude", "region", "spearman"): numbers(),
        cell("saliency", "magnitude", "pixel", "spearman"): numbers((-0.01, 0.01)),
        cell("saliency", "magnitude", "pixel", "ssim"): numbers((-0.01, 0.02)),
        cell("saliency", "magnitude", "pixel", "hog"): numbers(heads=(-0.1, 0.1)),
        cell("saliency", "magnitude", "pixel", "top10"): numbers(),
    }
    primary = Primary("magnitude", "region", "spearman")
    found = conclude(MODELS, tests, primary, 0.5)
    assert list(found) == ["grad_cam", "saliency"]
    assert found["grad_cam"].disagreements == []
    assert found["grad_cam"].read is None
    assert found["saliency"].verdict == "sensitive"
    assert found["saliency"].primary == primary
    assert found["saliency"].threshold == 0.5
    assert found["saliency"].read.startswith("Read regions: ")
    assert found["saliency"].disagreements == [
        "In the magnitude view at pixel scale the method would be insensitive by spearman, ssim, invalid by hog."
    ]
    pixels = found["saliency"].cells["magnitude/pixel/ssim"]
    assert pixels.verdict == "insensitive"
    assert pixels.share == span(-0.01, 0.02)


def test_disagreements_name_each_view_and_scale_once():
    primary = Cell("m", "magnitude", "region", "spearman")
    outcomes = {
        primary: "sensitive",
        Cell("m", "signed", "pixel", "ssim"): "invalid",
        Cell("m", "signed", "region", "spearman"): "sensitive",
        Cell("m", "signed", "region", "pearson"): "inconclusive",
    }
    assert disagreements(primary, outcomes) == [
        "In the signed view at pixel scale the method would be invalid by ssim.",
        "In the signed view at region scale the method would be inconclusive by pearson.",
    ]


@pytest.mark.parametrize(
    ("models", "constant", "images", "expected"),
    [
        ((1, 3), [], 20, "No p over models, which takes two true models and one to contrast with."),
        ((3, 0), [], 20, "No p over models, which takes two true models and one to contrast with."),
        (
            (3, 3),
            ["true_0", "fresh_7"],
            20,
            "No p over models, which takes a similarity of every two: maps of true_0, fresh_7 are constant on every"
            " film.",
        ),
        ((3, 3), [], 0, "No p over models: no film has a similarity of every kind."),
        ((3, 3), [], 20, "No p over models, which takes a similarity of every two: on no film there is one of each."),
    ],
)
def test_where_there_is_no_p_a_line_says_why(models, constant, images, expected):
    assert without_p(CellTest(images=images, permutation=Permutations()), models, constant) == expected
    assert without_p(CellTest(permutation=models_of(0.05)), (3, 3), constant) is None
