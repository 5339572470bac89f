"""Recipes: what is accepted, and what an error says."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwq.errors import InputError
from hwq.train.recipe import ConvNetSpec, MlpSpec, load_recipe, parse_recipe, resolved, shipped_recipes

SHIPPED = [
    "cifar-cnv-w1a1", "cifar-cnv-w2a2", "cifar-resnet8-w4a4", "digits-mlp-w2a2", "digits-w1a1", "digits-w2a2",
    "digits-w4a4", "jets-w4a4", "kws-ds-cnn-w4a4", "letter-w2a2", "magic-w2a2", "mnist-lfc-w1a1", "mnist-sfc-w1a1",
    "mnist-sfc-w2a2", "mnist-tfc-w1a1", "mnist-tfc-w2a2", "mnist-tfc-w4a4-half",
    "mnist-tfc-w4a4-sparse90", "spoken-digits-conv1d-w2a2", "spoken-digits-w2a2",
    "vww-mobilenet-w4a4",
]  # fmt: skip
MINIMAL = """
name = "mine"
[data]
name = "digits"
[model]
kind = "mlp"
widths = [16]
[quantize]
weights = 2
activations = 2
[train]
epochs = 3
"""


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL)
    return path


def test_the_shipped_recipes_are_those_documented_and_all_load() -> None:
    assert shipped_recipes() == SHIPPED
    for name in shipped_recipes():
        recipe = load_recipe(name)
        assert recipe.name == name
        assert recipe.quantize is not None
        assert f"w{recipe.quantize.weights}a{recipe.quantize.activations}" in name


def test_a_path_loads_and_missing_keys_get_their_defaults(toml: Path) -> None:
    recipe = load_recipe(str(toml))
    assert isinstance(recipe.model, MlpSpec)
    assert (recipe.train.epochs, recipe.train.batch_size, recipe.seed) == (3, 64, 0)


def test_overrides_are_toml_values_and_bare_words_are_text(toml: Path) -> None:
    recipe = load_recipe(
        str(toml),
        ["train.learning_rate=0.5", "model.widths=[4, 5]", "seed=7", "name=other", "input.signed=true"],
    )
    assert recipe.train.learning_rate == 0.5
    assert isinstance(recipe.model, MlpSpec)
    assert recipe.model.widths == (4, 5)
    assert (recipe.seed, recipe.name, recipe.input.signed) == (7, "other", True)


def test_a_resolved_recipe_parses_to_itself() -> None:
    recipe = load_recipe("digits-w1a1")
    assert parse_recipe(resolved(recipe), "here") == recipe


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=3", "unknown key 'train.epoch'; did you mean 'train.epochs'?"),
        ("trian.epochs=3", "unknown key 'trian'; did you mean 'train'?"),
        ("model.kernel=3", "unknown key 'model.kernel'"),
        ("train.epochs=0", "key 'train.epochs': Expected `int` >= 1"),
        ("train.epochs=many", "key 'train.epochs': Expected `int`, got `str`"),
        ("quantize.weights=9", "key 'quantize.weights': Expected `int` <= 8"),
        ("model.widths=[0]", "key 'model.widths[0]': Expected `int` >= 1"),
        ("model.kind=transformer", "key 'model.kind': no 'transformer'"),
        ("train.schedule=step", "key 'train.schedule': no 'step'"),
        ("quantize.weights=ternery", "key 'quantize.weights': no 'ternery'; did you mean 'ternary'?"),
        ("quantize.last.weight_scale=chanel", "did you mean 'channel'?"),
        ("train.epochs", "override 'train.epochs' is not of the form section.key=value"),
        ("=3", "override '=3' is not of the form"),
        ("seed.x=1", "override 'seed.x=1': 'seed' is a value, not a section"),
    ],
)  # fmt: skip
def test_a_wrong_override_is_refused_by_key(toml: Path, override: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        load_recipe(str(toml), ["seed=1", override])
    assert message in str(error.value)


def test_an_unknown_name_lists_the_shipped_ones_and_the_nearest() -> None:
    with pytest.raises(
        InputError, match="no recipe is called 'digits-w2a'; did you mean 'digits-w2a2'"
    ) as error:
        load_recipe("digits-w2a")
    assert ", ".join(SHIPPED) in str(error.value)


def test_a_missing_file_and_a_broken_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"recipe file .*none\.toml does not exist"):
        load_recipe(str(tmp_path / "none.toml"))
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(InputError, match=r"recipe .*broken\.toml cannot be read"):
        load_recipe(str(broken))


def test_a_missing_section_is_named(tmp_path: Path) -> None:
    path = tmp_path / "short.toml"
    path.write_text(MINIMAL.partition("[train]")[0])
    with pytest.raises(InputError, match="missing required field `train`"):
        load_recipe(str(path))


def test_layers_have_a_table_each_and_its_keys_are_checked() -> None:
    recipe = load_recipe("digits-w2a2", ["quantize.layers.classifier.weights=4"])
    assert recipe.quantize is not None
    assert recipe.quantize.layers["classifier"].weights == 4
    with pytest.raises(InputError, match=r"'quantize.layers.classifier.weight'; did you mean '.*\.weights'"):
        load_recipe("digits-w2a2", ["quantize.layers.classifier.weight=4"])


def test_per_stage_values_need_one_entry_a_stage() -> None:
    with pytest.raises(InputError, match="pool has 3 entries for 2 stages in widths"):
        load_recipe("digits-w2a2", ["model.pool=[2, 2, 1]"])
    spec = ConvNetSpec(widths=(4, 5), padding=(1, 0), pool=2)
    assert (spec.paddings, spec.pools) == ((1, 0), (2, 2))


def test_a_section_is_left_out_by_none() -> None:
    assert load_recipe("digits-w2a2").quantize is not None
    assert load_recipe("digits-w2a2", ["quantize=none"]).quantize is None
    with pytest.raises(InputError, match="data"):
        load_recipe("digits-w2a2", ["data=none"])


def test_an_unknown_key_of_a_layer_pair_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"'distill\.layers\.x\.weigt'; did you mean 'distill\.layers\.x\.weight'"
    ):
        load_recipe("digits-w2a2", ["distill.layers.x.teacher=y", "distill.layers.x.weigt=2"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "train.schedule=cosin",
            "key 'train.schedule': no 'cosin'; did you mean 'cosine'?\n  known: cosine, one-c",
        ),
        ("train.optimiser=adamw8", "key 'train.optimiser': no 'adamw8'; did you mean 'adamw"),
        ("train.device=cud", "key 'train.device': no 'cud'; did you mean 'cuda'?\n  known: auto, cpu, cuda"),
        ("quantize.weight_scale=chanel", "key 'quantize.weight_scale': no 'chanel'; did you mean 'channel'?"),
        ("model.kind=convet", "key 'model.kind': no 'convet'; did you mean 'convnet'?"),
        ("quantize.weights=tenary", "key 'quantize.weights': no 'tenary'; did you mean 'ternary'?"),
    ],
)
def test_a_word_that_a_key_does_not_know_is_refused_with_the_nearest(override: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        load_recipe("digits-w2a2", [override])
    assert message in str(error.value)
