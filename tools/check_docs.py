#!/usr/bin/env python3
"""Checks what pages promise against the code, without building it:

- links: the file is there, and the heading they name in it;
- flags: `--name` in a page is a flag of some command (or of a program that is named below);
- metrics: what pages name is emitted, and what is emitted is named in docs/reference.md or docs/operations.md;
- README.zh-CN.md has the sections, table rows, commands and links of README.md.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("*.md"), *(ROOT / "src").rglob("*.md")])
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# Flags of others that pages name.
FOREIGN = set("""
    anonymous-auth apply arch create-all for gtest svg benchmark_filter cni-conf config cgroup-driver cxxflags device endpoint extra-arg feature-gates gpus gtest_filter help
    ignore-not-found input namespace no-install-recommends overwrite policy-config-file preset raw reinstall repeat reruns rm root-dir timeout type version
""".split())
METRIC = re.compile(r"edge_gpu_(?:agent|scheduler|kubelet|guard|xid|binds|events)_[a-z_]*[a-z]")


def anchor(heading: str) -> str:
    """GitHub's: lower case, punctuation gone, blanks to dashes."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(page: pathlib.Path) -> set[str]:
    return {anchor(found) for found in re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)}


def links(page: pathlib.Path) -> list[str]:
    found = []
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"https?:|mailto:", target):
            continue
        path, _, heading = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists():
            found.append(f"link to {target}: no such file")
        elif heading and heading not in anchors(there):
            found.append(f"link to {target}: no such heading")
    return found


def sources() -> str:
    files = sorted(path for path in (ROOT / "src").rglob("*") if path.suffix in (".cpp", ".h"))
    code = "\n".join(path.read_text() for path in files if not re.search(r"_(test|fuzz)$", path.stem))
    return re.sub(r"^\s*//.*$", "", code, flags=re.MULTILINE)


def flags(code: str) -> set[str]:
    """Every flag that is declared; NVIDIA's are names in a table."""
    scripts = "\n".join(path.read_text() for path in [ROOT / "dev", *(ROOT / "tools").rglob("*.py"), *(ROOT / "tools").rglob("*.sh")])
    return set(re.findall(r'"(?:[^"]*,)?-{0,2}([a-z][a-z0-9-]+)(?:,[^"]*)?"', code)) | set(
        name for text in re.findall(r'"((?:--[a-z][a-z-]*[,{}a-z]*)+)"', code) for name in re.findall(r"--([a-z][a-z-]*)", text)) | set(
        re.findall(r"--([a-z][a-z-]*)", scripts))


def readmes() -> list[str]:
    found = []
    english, chinese = (ROOT / name for name in ("README.md", "README.zh-CN.md"))
    def shape(page: pathlib.Path) -> list[str]:
        lines = FENCE.sub("```", page.read_text()).splitlines()
        return [f"{'#' * (len(line) - len(line.lstrip('#')))} section" if line.startswith("#") else f"row of {line.count('|')}"
                for line in lines if line.startswith(("#", "|", "```"))]
    if shape(english) != shape(chinese):
        found.append("README.zh-CN.md: its sections and table rows are not those of README.md")
    def targets(page: pathlib.Path) -> list[str]:
        return [target for target in LINK.findall(page.read_text()) if not target.startswith(("README", "#"))]
    if targets(english) != targets(chinese):
        found.append("README.zh-CN.md: its links are not those of README.md")
    def commands(page: pathlib.Path) -> list[str]:
        return [line.split("#")[0].rstrip() for block in FENCE.findall(page.read_text()) for line in block.splitlines()]
    if commands(english) != commands(chinese):
        found.append("README.zh-CN.md: its commands are not those of README.md")
    return found


def main() -> int:
    errors = readmes()
    code = sources()
    known = flags(code) | FOREIGN
    emitted = set(METRIC.findall(code))
    named = set()
    for page in PAGES:
        name = page.relative_to(ROOT)
        text = page.read_text()
        errors += [f"{name}: {error}" for error in links(page)]
        for flag in sorted(set(re.findall(r"(?<![\w-])--([a-z][a-z0-9-]+)", text)) - known):
            errors.append(f"{name}: --{flag} is a flag of nothing here")
        if page.parent.name == "decisions":
            continue
        here = set(METRIC.findall(text))
        for metric in sorted(here - emitted):
            errors.append(f"{name}: {metric} is emitted by nothing")
        if page.name in ("reference.md", "operations.md"):
            named |= here
    # Tables leave out the prefix that their heading names.
    for page in ("reference.md", "operations.md"):
        for short in re.findall(r"`_?([a-z_]+)`", (ROOT / "docs" / page).read_text()):
            named |= {metric for metric in emitted if re.fullmatch(rf"edge_gpu_(guard|scheduler|scheduler_policy)_{short}", metric)}
    errors += [f"docs: {metric} is emitted and in neither reference.md nor operations.md" for metric in sorted(emitted - named)]
    for error in errors:
        print(error, file=sys.stderr)
    print("docs: clean" if not errors else f"docs: {len(errors)} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
