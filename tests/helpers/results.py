"""Parts of the content of verdict.json, for tests that need one number of it."""

from pneumo_batch.core.statistics.model_results import OnTest, VariantResult


def classified(kind: str, accuracy: float, **fields) -> VariantResult:
    """A variant of this accuracy on test; of all else nothing is known."""
    unknown = dict.fromkeys(("balanced_accuracy", "auroc", "auprc", "precision", "recall", "f1"))
    test = {"images": 7, "accuracy": accuracy, **unknown, "confusion": [[1, 2], [3, 4]], "threshold": 0.5}
    nothing = dict.fromkeys(
        ("seed", "epochs", "chosen_epoch", "memorised", "majority", "label_agreement", "training_accuracy")
    )
    test = OnTest(**{**test, **fields}, auroc_interval=(None, None))
    return VariantResult(kind=kind, network="cnn5", threshold=0.5, test=test, **nothing)
