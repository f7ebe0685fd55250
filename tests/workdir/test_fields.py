"""The fields of a config as they are explained on the command line."""

from configs import default
from resnet_alexnet import main
from resnet_alexnet.workdir import fields
from resnet_alexnet.workdir.config import flatten


def test_every_field_of_the_defaults_is_explained():
    assert set(fields.field_names()) == set(flatten(default.get_config().to_dict()))
    unexplained = [field.name for group in fields.read_groups() for field in group.fields if len(field.meaning) < 5]
    assert unexplained == []
    assert all(group.meaning for group in fields.read_groups())


def test_comments_on_the_line_and_on_the_lines_before_belong_to_a_field():
    found = {field.name: field for group in fields.read_groups() for field in group.fields}
    assert found["optim.momentum"] == fields.Field("optim.momentum", "0.9", "both papers")
    assert found["model.lrn_size"].default == "unset (int)"
    before = found["finetune.weights"].meaning
    assert before.startswith("a weight file or a run folder; empty: train from scratch.")
    assert before.endswith("are those of the weights")
    assert found["model.shortcut"].meaning == "A, B or C ([H15] table 3)"  # not the heading above it


def test_fields_prints_a_group_or_all_within_80_columns(capsys):
    main.main(["--fields=optim"])
    text = capsys.readouterr().out
    assert "optim: SGD with momentum and weight decay." in text
    assert "  optim.learning_rate = 0.1\n      for a batch of reference_batch_size ([H15] section 4.2)\n" in text
    assert "schedule" not in text
    main.main(["--fields"])
    text = capsys.readouterr().out
    assert all(f"  {name} = " in text for name in fields.field_names())
    assert max(map(len, text.splitlines())) <= 80


def test_show_prints_every_field_and_marks_what_differs(capsys, tmp_path):
    main.main(["--config=quickstart", "--config.seed=3", "--show", f"--workdir={tmp_path / 'new'}"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(f" of {len(fields.field_names())} fields differ from the defaults: *")
    assert "* seed = 3  (default: 0)" in lines
    assert "* model.bn_group = 'sync'  (default: unset)" in lines
    assert "  optim.momentum = 0.9" in lines
    assert len([line for line in lines if line.startswith("* ")]) == int(lines[0].split()[0])
    assert not (tmp_path / "new").exists()
