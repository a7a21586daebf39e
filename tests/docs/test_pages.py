"""The code blocks of the documentation work, and the generated pages match the code."""

from __future__ import annotations

import dataclasses
import re
import runpy
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml

from mistk_service.app.settings import Settings
from mistk_service.command_line import options_of
from tests.docs.pages import DATA, LANGUAGES, PAGES, ROOT, blocks_of, page_run

RUN = [page for page in PAGES if any(block.is_run and block.language not in DATA for block in blocks_of(page))]


def title(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.timeout(150)
@pytest.mark.parametrize("page", RUN, ids=title)
def test_the_blocks_of_a_page_run_in_order(page: Path, tmp_path: Path) -> None:
    with page_run(tmp_path) as run:
        for block in blocks_of(page):
            if block.is_run and (block.language not in DATA or block.is_file):
                run.run(block)


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_every_block_is_parsed_and_names_its_language(page: Path) -> None:
    for block in blocks_of(page):
        if block.language == "python":
            compile(block.code, title(page), "exec")
        elif block.language in DATA:
            yaml.safe_load(block.code)  # JSON is YAML
    languages = re.findall(r"^```(\w*)", page.read_text(encoding="utf-8"), re.M)[::2]
    assert set(languages) <= {*LANGUAGES, "text"}


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    broken = []
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", text):
        file = (page.parent / target) if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(f"{target}#{anchor}")
    assert broken == []


def anchors(page: Path) -> set[str]:
    """The ids of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def test_the_generated_pages_are_up_to_date() -> None:
    pages = runpy.run_path(str(ROOT / "scripts" / "reference.py"))["pages"]()
    stale = [
        name for name, text in pages.items() if (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run `make docs`, or python scripts/reference.py"


def test_every_setting_but_the_model_is_an_option() -> None:
    named = {each.name for each in options_of(Settings)}
    assert {field.name for field in dataclasses.fields(Settings)} - named == {"model"}


def test_every_page_is_in_the_navigation_and_on_the_first_page() -> None:
    config = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), yaml.BaseLoader)
    listed = re.findall(r"[\w/-]+\.md", str(config["nav"]))
    docs = ROOT / "docs"
    pages = {str(page.relative_to(docs)) for page in docs.rglob("*.md")}
    assert sorted(listed) == sorted(pages)
    linked = set(re.findall(r"\]\(([^)#]+\.md)\)", (docs / "index.md").read_text(encoding="utf-8")))
    assert linked == pages - {"index.md"}, "docs/index.md lists every page"


def test_the_readme_is_short_and_names_every_extra() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 200
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"]) - {"dev"}
    assert [name for name in extras if f"| `{name}` |" not in text] == []
