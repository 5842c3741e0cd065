"""`rnnbp plugins new`: what it says, and how a mistake ends."""

import json
import re
from pathlib import Path

import pytest
from rnnbp_cli import main

PAGE = Path(__file__).parent.parent / "docs" / "plugins.md"


@pytest.fixture
def plugins(capsys, monkeypatch, tmp_path):
    """Run the command in an empty folder: exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        with pytest.raises(SystemExit) as end:
            main(["plugins", *words])
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return run


def test_it_says_what_was_written_and_what_comes_next_as_the_page_shows(plugins, tmp_path):
    code, out, err = plugins("new", "my-cell")
    (shown,) = re.findall(r"```console\n\$ rnnbp plugins new my-cell\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert (code, out, err) == (0, shown, "")
    assert [path.name for path in tmp_path.iterdir()] == ["rnnbp-my-cell"]


@pytest.mark.parametrize(("kind", "base"), [("pointwise", "PointwiseCell"), ("plain", "Cell")])
def test_json_alone_on_stdout(plugins, tmp_path, kind, base):
    (tmp_path / "a folder").mkdir()
    code, out, err = plugins("new", "mine", "--kind", kind, "--out", "a folder", "--json")
    told = json.loads(out)
    assert (code, err) == (0, "") and {name: told[name] for name in ("name", "kind")} == {"name": "mine", "kind": kind}
    folder = tmp_path / told["folder"]
    assert folder == tmp_path / "a folder" / "rnnbp-mine"
    assert all((folder / path).is_file() for path in told["files"]) and len(told["files"]) == 6
    assert f"class Mine({base}):" in (folder / "rnnbp_mine" / "__init__.py").read_text(encoding="utf-8")


def test_the_next_command_can_be_pasted_where_a_folder_has_a_space(plugins, tmp_path):
    (tmp_path / "a folder").mkdir()
    _, out, _ = plugins("new", "mine", "--out", "a folder")
    assert "cd 'a folder/rnnbp-mine' &&" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("new", "Missing argument 'NAME'"),
        ("new lstm", "rnnbp has a cell lstm"),
        ("new My_Cell", "try my-cell"),
        ("new mine --kind flat", "unknown kind of plugin 'flat'"),
        ("new mine --out nowhere", "got nowhere: make it"),
        ("new mine --force", "No such option"),
        ("new " + 300 * "a", "File name too long"),
        ("old mine", "No such command 'old'"),
        ("", "Missing command"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(plugins, tmp_path, words, message):
    code, out, err = plugins(*words.split())
    assert code == 2 and out == "" and message in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_stays(plugins, tmp_path):
    plugins("new", "mine", "--kind", "plain")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, out, err = plugins("new", "mine")
    assert code == 2 and out == "" and "replaces nothing; rnnbp-mine is there" in err and err.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
