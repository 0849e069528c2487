"""The job file as a whole."""

from pydantic import Field, model_validator

from pneumo_batch.core.similarity.options import SMALLEST_SIDE
from pneumo_batch.core.variants import Arm, Variant
from pneumo_batch.job.schema import arms
from pneumo_batch.job.schema.arms import ArmSpec
from pneumo_batch.job.schema.attribution import Attribution
from pneumo_batch.job.schema.cluster import Cluster
from pneumo_batch.job.schema.comparison import Cascade, Compare
from pneumo_batch.job.schema.data import PHANTOM, SIDES, Data, Phantom
from pneumo_batch.job.schema.fields import JOB_NAME, Section, neutral
from pneumo_batch.job.schema.models import Network, Train, VariantSpec


class Job(Section):
    """A job file, resolved."""

    name: str = neutral(pattern=JOB_NAME)
    """Short name; the run directory starts with it."""
    data: Data = Data()
    phantom: Phantom = Phantom()
    network: Network = Network()
    train: Train = Train()
    attribution: Attribution = Attribution()
    compare: Compare = Compare()
    cascade: Cascade = Cascade()
    cluster: Cluster = Cluster()
    variant: list[VariantSpec] = Field([])
    arm: list[ArmSpec] = Field([])

    @model_validator(mode="after")
    def _consistent(self) -> "Job":
        names = [spec.name for spec in self.variant]
        if len(set(names)) < len(names):
            raise ValueError("variant: two [[variant]] tables share a name")
        for metric in self.compare.metrics:
            least = -(-SMALLEST_SIDE.get(metric, 1) // SIDES) * SIDES
            if self.data.image_size < least:
                raise ValueError(
                    f"compare.metrics: {metric} needs data.image_size of {least} or more; leave {metric} out"
                )
        if self.data.grows and (self.is_phantom or self.attribution.limit or self.attribution.splits != ["test"]):
            raise ValueError('data.grows needs a data.root of your own, attribution.splits = ["test"] and no limit')
        if self.compare.region_grid > self.data.image_size:
            raise ValueError("compare.region_grid is larger than data.image_size")
        arms.check(self.arm, self.train, several=bool(self.data.several), weights=self.network.weights)
        names += [variant.name for variant in self.trained]
        if self.cascade.variant is not None and self.cascade.variant not in names:
            raise ValueError(f"cascade.variant: no variant {self.cascade.variant!r}; there are: {', '.join(names)}")
        self._columns_apart(names)
        return self

    def _columns_apart(self, variants: list[str]) -> None:
        """Raises ValueError where the maps of two targets, or of another variant, would stand in one column."""
        taken: dict[str, str] = {}
        for target, suffix in zip(self.attribution.targets, self.attribution.suffixes, strict=True):
            for column in (f"{variant}{suffix}" for variant in variants):
                if column in taken:
                    both = f"{taken[column]!r} and {target!r}"
                    raise ValueError(
                        f'attribution.target: maps of {both} would stand in one column, ending with "{column}"; leave'
                        " one out"
                    )
                taken[column] = target

    @property
    def trained(self) -> list[Variant]:
        """The variants to be trained; those of an untrained arm are made like them."""
        return self.train.variants + [variant for arm in self.arm for variant in arm.variants]

    @property
    def variants(self) -> list[Variant]:
        """Every variant, trained and brought."""
        return self.trained + [Variant(spec.name, spec.kind) for spec in self.variant]

    @property
    def arms(self) -> dict[str, Arm]:
        """What the models of each arm are trained on, by name: `[train]`'s own and those of `[[arm]]` tables."""
        return {arm.name: arm for arm in [*arms.short_form(self.train), *(spec.arm for spec in self.arm)]}

    @property
    def networks(self) -> list[str]:
        """The job's own, and those of arms that have another."""
        return list(dict.fromkeys([self.network.name, *(arm.network for arm in self.arm if arm.network)]))

    @property
    def is_phantom(self) -> bool:
        return self.data.root == PHANTOM
