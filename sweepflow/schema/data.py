"""Data sets. Only the fields that set array shapes are static; the others decide the arrays' content."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from sweepflow.schema.fields import Config, Content, Location
from sweepflow.schema.model import Activation

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class TeacherStudentData(Config):
    """Inputs from a chosen distribution, and outputs of a random teacher MLP plus chosen noise."""

    kind: Literal["teacher_student"] = "teacher_student"
    n_data: PositiveInt = 1000
    """Number of training rows, n."""
    n_test: PositiveInt = 500
    """Number of test rows."""
    input_dim: PositiveInt = 4
    """Number of inputs."""
    output_dim: PositiveInt = 1
    """Number of outputs."""
    inputs: Content[Literal["isotropic", "anisotropic", "mixture", "latent"]] = "isotropic"
    """Distribution of the inputs."""
    condition_number: Content[Annotated[float, Field(ge=1)]] = 100.0
    """Ratio of the largest to the smallest input variance (inputs=anisotropic)."""
    components: Content[PositiveInt] = 4
    """Number of Gaussians (inputs=mixture)."""
    separation: Content[NonNegativeFloat] = 2.0
    """Standard deviation of the component means, in units of a component's own (inputs=mixture)."""
    latent_dim: Content[PositiveInt] = 2
    """Dimension of the latent factors; the inputs are a noisy linear image of them (inputs=latent)."""
    noise: Content[Literal["gaussian", "heteroscedastic", "student_t", "outlier"]] = "gaussian"
    """Distribution of the label noise."""
    noise_scale: Content[NonNegativeFloat] = 0.1
    """Standard deviation (scale, for student_t) of the label noise, in units of the teacher's output."""
    degrees_of_freedom: Content[Annotated[float, Field(gt=2)]] = 4.0
    """Degrees of freedom of the noise (noise=student_t)."""
    outlier_fraction: Content[Fraction] = 0.05
    """Share of rows that are outliers (noise=outlier)."""
    outlier_scale: Content[PositiveFloat] = 10.0
    """Standard deviation of an outlier's noise, in units of `noise_scale` (noise=outlier)."""
    teacher_widths: Content[tuple[PositiveInt, ...]] = (8,)
    """Widths of the teacher's hidden layers."""
    teacher_activation: Content[Activation] = "tanh"
    """Activation function of the teacher."""
    seed: Content[Seed] = 0
    """Seed of the teacher, the inputs and the noise."""


class DeepLinearData(Config):
    """Gaussian inputs through a product of matrices of known rank: y = W_L ... W_1 x + noise.

    Every matrix has exactly rank `rank`. This is the most singular point of the set of true parameters: the
    learning coefficient there is Aoyagi's.
    """

    kind: Literal["deep_linear"] = "deep_linear"
    widths: tuple[PositiveInt, ...] = Field(default=(4, 4, 4), min_length=2)
    """Widths of all layers, input and output included: H_1, ..., H_{L+1}."""
    rank: Content[NonNegativeInt] = 2
    """Rank of every matrix; at most the smallest width."""
    n_data: PositiveInt = 1000
    """Number of training rows, n."""
    n_test: PositiveInt = 500
    """Number of test rows."""
    noise_scale: Content[NonNegativeFloat] = 0.0
    """Standard deviation of the label noise."""
    seed: Content[Seed] = 0
    """Seed of the matrices, the inputs and the noise."""

    @model_validator(mode="after")
    def _rank_fits(self) -> DeepLinearData:
        if self.rank > min(self.widths):
            raise ValueError(f"rank {self.rank} is larger than the narrowest layer ({min(self.widths)})")
        return self


class NormalCrossingData(Config):
    """The potential L(w) = prod_i w_i^(2 k_i), whose learning coefficient at 0 is min_i 1/(2 k_i)."""

    kind: Literal["normal_crossing"] = "normal_crossing"
    exponents: Content[tuple[PositiveInt, ...]] = Field(default=(1, 2), min_length=1)
    """The exponents k_i."""
    n_data: PositiveInt = 1000
    """The number n, which decides the default of nβ; there are no rows."""
    dimension: PositiveInt = 2
    """Number of parameters; `exponents` has one entry for each."""

    @model_validator(mode="after")
    def _dimension_fits(self) -> NormalCrossingData:
        if len(self.exponents) != self.dimension:
            raise ValueError(f"dimension={self.dimension} needs {self.dimension} exponents")
        return self


class QuadraticData(Config):
    """The potential L(w) = sum_i h_i w_i^2 / 2 with given Hessian eigenvalues h."""

    kind: Literal["quadratic"] = "quadratic"
    eigenvalues: Content[tuple[NonNegativeFloat, ...]] = Field(default=(1.0, 0.1), min_length=1)
    """The eigenvalues h_i."""
    n_data: PositiveInt = 1000
    """The number n, which decides the default of nβ; there are no rows."""
    dimension: PositiveInt = 2
    """Number of parameters; `eigenvalues` has one entry for each."""

    @model_validator(mode="after")
    def _dimension_fits(self) -> QuadraticData:
        if len(self.eigenvalues) != self.dimension:
            raise ValueError(f"dimension={self.dimension} needs {self.dimension} eigenvalues")
        return self


class BundledData(Config):
    """A real data set that ships with scikit-learn; inputs standardised on the training rows."""

    kind: Literal["bundled"] = "bundled"
    name: Literal["digits", "diabetes", "breast_cancer"] = "digits"
    """Name of the data set."""
    test_fraction: Fraction = 0.2
    """Share of the rows that is kept for testing."""
    seed: Content[Seed] = 0
    """Seed of the split into training and test rows."""


class FileData(Config):
    """A file of the user's own: `.npz` (arrays `x` and `y`), or CSV (a header line; one column is the
    target)."""

    kind: Literal["file"] = "file"
    path: Location[str] = Field(description="the path of a .npz or .csv file", examples=["FILE.npz"])
    sha256: Content[str] = ""
    """SHA-256 of the file's bytes. Sweepflow fills it in, so that a changed file is another target."""
    target_column: Content[str | None] = None
    """Name of the target column (CSV only); the last column if it is not given."""
    task: Literal["regression", "classification"] = "regression"
    """Task, which decides the loss: half the squared error, or cross-entropy."""
    standardize: Content[bool] = True
    """Whether inputs and regression targets are standardised, on the training rows."""
    test_fraction: Fraction = 0.2
    """Share of the rows that is kept for testing."""
    seed: Content[Seed] = 0
    """Seed of the split into training and test rows."""


class MnistData(Config):
    """MNIST or Fashion-MNIST, from the user's copy: a directory of IDX files, or an `.npz`."""

    kind: Literal["mnist"] = "mnist"
    path: Location[str] = Field(
        description="a directory with the four files of MNIST or Fashion-MNIST, or an .npz of them",
        examples=["DIRECTORY"],
    )
    sha256: Content[str] = ""
    """SHA-256 of the images and labels. Sweepflow fills it in, so that other content is another trial."""
    n_data: PositiveInt | None = None
    """Number of training rows, taken from the beginning; all rows if it is not given."""
    n_test: PositiveInt | None = None
    """Number of test rows, taken from the beginning; all rows if it is not given."""


DataConfig = Annotated[
    TeacherStudentData
    | DeepLinearData
    | NormalCrossingData
    | QuadraticData
    | BundledData
    | FileData
    | MnistData,
    Field(discriminator="kind"),
]
