"""Studies in TOML: what a file says is what Python would, and errors name file, table and key."""

from __future__ import annotations

import re

import pytest

import bayespeft
from bayespeft import Targets, TrainConfig
from bayespeft.compare import DataSet, Execution, OtherData, Study, Tuning, read_study
from bayespeft.compare import file as module
from bayespeft.errors import ConfigError
from bayespeft.guides.full_covariance import FullCovariance
from bayespeft.priors.normal import Normal


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "runs.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def read(write):
    return lambda text: read_study(write(text))


def test_lists_of_names_are_a_study(read):
    study, execution = read(
        'model = "minilm"\ndata = ["newsgroups", "sst2"]\nmethods = ["mle", "melora"]\nseeds = [0, 1]'
    )
    assert study == Study.of("minilm", ["newsgroups", "sst2"], ["mle", "melora"]).over(seeds=[0, 1])
    assert execution == Execution()
    few, _ = read('models = ["minilm", "smollm2"]\ndata = "sst2"\ndraws = "auto"')
    assert few == Study.of(["minilm", "smollm2"], "sst2").over(draws="auto")


def test_the_example_of_the_documentation(read):
    example = module.__doc__
    lists, tables = (
        "\n".join(line[4:] for line in part.splitlines() if line.startswith("    "))
        for part in example.split("In the place of the lists")
    )
    study, execution = read(lists)
    assert (list(study.data), [method.name for method in study.methods]) == (["newsgroups", "sst2"], ["mle", "melora"])
    assert (study.seeds, study.draws, study.data["sst2"].limit) == ((0, 1, 2), 10, 400)
    assert {method.train.epochs for method in study.methods} == {12}
    assert execution == Execution(out="runs/first", workers=2)
    assert study.tuning == Tuning(multiples=(0.5, 1, 2))

    without = re.sub(r"^(data|methods) = .*$", "", lists, flags=re.M)
    study, _ = read(f"{without}\n{tables}")
    assert study.data == {
        "space": DataSet(
            source="newsgroups", limit=400, options={"groups": ["sci.med", "sci.space"]}, ood={"films": "sst2"}
        ),
        "reviews": DataSet(
            source="reviews/",
            limit=400,
            columns={"text": "body", "label": "stars"},
            ood={"films": "sst2"},
            class_weight={"bad": 5.0},
            prior_correction=True,
        ),
    }
    melora, wide = study.methods
    base = bayespeft.methods()["melora"]
    assert melora == base.replace(train=TrainConfig(epochs=12).over(base.train))
    assert wide == base.replace(
        name="wide",
        title="Me-LoRA, wide",
        guide=base.guide.replace(init_std=(0.5, 0.5)),
        latent_prior=Normal(scale=1.0),
        train=TrainConfig(epochs=12, lr=2e-3).over(base.train),
    )


HEAD = 'model = "minilm"\ndata = "sst2"\n'


def test_settings_of_methods_go_over_those_of_the_file_and_these_over_the_methods_own(read):
    study, _ = read(
        HEAD
        + '[train]\nlr = 0.5\nepochs = 2\n[targets]\nmodules = ["key"]\n[methods.mle]\n[methods.melora]\ntrain.lr = 0.25\n'
        "[methods.melora.targets]\nlayers = [0, 1]"
    )
    mle, melora = study.methods
    assert (mle.train.lr, mle.train.epochs, melora.train.lr, melora.train.epochs) == (0.5, 2, 0.25, 2)
    assert mle.targets == Targets(modules=["key"])
    assert melora.targets == Targets(modules=["key"], layers=(0, 1))
    # What the method alone says stays.
    assert melora.train.kl_warmup == bayespeft.methods()["melora"].train.kl_warmup


def test_another_kind_takes_the_place_of_a_part(read):
    study, _ = read(HEAD + '[methods.mine]\nbase = "melora"\nguide = "full_covariance"\nlatent_prior.kind = "ard"')
    assert study.methods[0].guide == FullCovariance()
    assert study.methods[0].latent_prior.kind == "ard"
    study, _ = read(HEAD + '[methods.mine]\nbase = "melora"\nguide = { kind = "mean_field", noise = "batch" }')
    base = bayespeft.methods()["melora"].guide
    assert study.methods[0].guide == base.replace(noise="batch")


def test_options_go_over_a_file(read):
    study, _ = read(
        'model = "minilm"\nlimit = 100\n[data.a]\noptions.x = 1\n[data.b]\nlimit = 7\n'
        '[methods.wide]\nbase = "melora"\nguide.init_std = [1, 1]'
    )
    assert [one.limit for one in study.data.values()] == [100, 7]
    over = study.over(
        methods=["mle", "wide"], seeds=[4], draws=0, limit=9, options={"y": 2}, train=TrainConfig(steps=3), kind=None
    )
    assert over.methods[0].name == "mle"
    assert over.methods[1].guide.init_std == (1, 1)
    assert {method.train.steps for method in over.methods} == {3}
    assert over.data == {
        "a": DataSet(source="a", limit=9, options={"x": 1, "y": 2}),
        "b": DataSet(source="b", limit=9, options={"y": 2}),
    }
    assert (over.seeds, over.draws) == ((4,), 0)
    assert study.over() == study


def test_other_data_and_searches(read):
    study, _ = read('model = "minilm"\nood.a = "x"\n[tune]\nmultiples = [2, 1]\nshare = 0.5\n[data.p]\n'
                    '[data.q.ood.b]\nsource = "y"\nlimit = 3')  # fmt: skip
    assert study.tuning == Tuning(multiples=(1, 2), share=0.5)
    assert study.data["p"].ood == {"a": OtherData(source="x")}
    assert study.data["q"].ood == {"b": OtherData(source="y", limit=3)}


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("model = ", "is no TOML", "Invalid value"),
        ('data = "sst2"', "", "model or models is expected"),
        (HEAD + 'models = ["a"]', "", "model or models is expected"),
        ('model = "minilm"', "", "data: Field required"),
        (HEAD + "metods = []", "", "metods: Extra inputs are not permitted"),
        (HEAD + 'seeds = ["x"]', "", "seeds.0: Input should be a valid integer"),
        (HEAD + "seeds = [0, 0]", "", "seeds is [0, 0]: at least one, and each once."),
        (HEAD + "seeds = []", "", "seeds is []: at least one"),
        (HEAD + "draws = -1", "", "draws=-1 must be a whole number, at least 0"),
        (HEAD + "seeds = [0, -1]", "", "seeds=(0, -1) must be a sequence in which each is a whole number, at least 0"),
        (HEAD + 'draws = "many"', "", "draws"),
        (HEAD + "tune = [1, 1]", "tune", "each multiple once"),
        (HEAD + "[tune]\nmultiples = [1]\nshare = 2", "tune", "share: Input should be less than 1"),
        (HEAD + "ood.x = 3", "", "ood.x"),
        (HEAD + "ood.x.sauce = 'sst2'", "", "ood.x: Value error, OtherData: source: Field required"),
        (HEAD + "limit = 0", "", "limit: Input should be greater than or equal to 1 (got 0)"),
        (HEAD + "[train]\nepochs = -1", "[train]", "epochs: Input should be greater than 0 (got -1)"),
        (HEAD + "[train]\nepoch = 1", "[train]", "epoch: Extra inputs"),
        (HEAD + "[targets]\nlayers = 3", "[targets]", "layers"),
        (HEAD + "[run]\nengine = 'dask'", "[run]", "engine: Input should be 'local', 'slurm' or 'ray'"),
        (HEAD + 'methods = ["mle", "mle"]', "methods", "each once"),
        (HEAD + 'methods = ["melorra"]', "[methods.melorra]", "Did you mean 'melora'"),
        (HEAD + '[methods.mine]\nbase = "melorra"', "[methods.mine]", "Did you mean 'melora'"),
        (HEAD + '[methods.mle]\nname = "x"', "[methods.mle]", "the table's own name"),
        (HEAD + "[methods.mle]\ntemprature = true", "[methods.mle]", "temprature: Extra inputs"),
        (HEAD + "[methods.melora]\nguide.init_sd = 1", "[methods.melora.guide]", "init_sd: Extra inputs"),
        (HEAD + '[methods.melora]\nguide = "mean_feld"', "[methods.melora]", "Did you mean 'mean_field'"),
        (HEAD + "[methods.melora.train]\nlr = 'x'", "[methods.melora.train]", "lr: Input should be a valid number"),
        ('model = "m"\n[data.a]\nlimt = 3', "[data.a]", "limt: Extra inputs"),
        ('model = "m"\n[data.a]\nlimit = 0', "[data.a]", "limit: Input should be greater"),
    ],
)
def test_errors_name_file_table_and_key(write, text, where, what):
    path = write(text)
    with pytest.raises(ConfigError) as raised:
        read_study(path)
    message = str(raised.value)
    assert message.startswith(str(path))
    assert where in message
    assert what in message


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.toml can't be read"):
        read_study(tmp_path / "nowhere.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is no TOML"):
        read_study(tmp_path / "bytes.toml")
