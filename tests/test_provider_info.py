"""What Airflow learns of the provider from its metadata is valid, and true of the classes it names."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from importlib.metadata import distribution, entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from airflow.sdk import BaseOperator, BaseOperatorLink
from packaging.version import Version

import airflow_imagepipeline
from airflow_imagepipeline.get_provider_info import get_provider_info
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook

INFO = get_provider_info()


def schema(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(files("airflow").joinpath(name).read_text(encoding="utf-8"))
    return loaded


def named(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def class_names(info: dict[str, Any]) -> list[str]:
    """Return each class that the metadata names, wherever it stands."""
    listed = ("extra-links", "notifications", "secrets-backends", "logging", "auth-managers", "executors")
    names = [name for kind in listed for name in info.get(kind, [])]
    names += [connection["hook-class-name"] for connection in info.get("connection-types", [])]
    return names + [plugin["plugin-class"] for plugin in info.get("plugins", [])]


def test_the_metadata_is_valid() -> None:
    jsonschema.validate(INFO, schema("provider_info.schema.json"))


def test_the_connection_form_is_valid() -> None:
    # The runtime schema does not look into the form; the one of the sources does, where this version of Airflow has it.
    connection_types = schema("provider.yaml.schema.json")["properties"]["connection-types"]
    jsonschema.validate(INFO["connection-types"], connection_types)


def test_a_wrong_form_would_be_found() -> None:
    connection_types = schema("provider.yaml.schema.json")["properties"]["connection-types"]
    wrong = [{"connection-type": "imagepipeline", "hook-class-name": 1}]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, connection_types)


def test_the_package_is_called_as_it_is_installed() -> None:
    # Airflow refuses a provider whose metadata names another package.
    installed = distribution("airflow-provider-imagepipeline")
    assert INFO["package-name"] == installed.metadata["Name"]
    assert installed.version == airflow_imagepipeline.__version__


def test_the_entry_point_leads_to_the_metadata() -> None:
    found = [
        point
        for point in entry_points(group="apache_airflow_provider")
        if point.value.startswith(f"{airflow_imagepipeline.__name__}.")
    ]
    assert [point.name for point in found] == ["provider_info"]
    assert found[0].load()() == INFO


def test_no_option_was_added_by_a_version_that_is_not_there_yet() -> None:
    options = [option for section in INFO["config"].values() for option in section["options"].values()]
    added = [Version(option["version_added"]) for option in options]
    assert added
    assert max(added) <= Version(airflow_imagepipeline.__version__)


def test_the_pythons_that_are_claimed_are_those_that_the_tests_run_on() -> None:
    claimed = distribution("airflow-provider-imagepipeline").metadata.get_all("Classifier", [])
    versions = [one.rpartition(" ")[2] for one in claimed if re.search(r":: Python :: 3\.\d+$", one)]
    makefile = Path(__file__).parents[1].joinpath("Makefile").read_text(encoding="utf-8")
    newer = re.search(r"^PYTHON_VERSIONS := (.*)$", makefile, re.MULTILINE)
    assert newer is not None
    assert versions == ["3.11", *newer[1].split()]


@pytest.mark.parametrize("path", class_names(INFO))
def test_every_class_that_is_named_exists(path: str) -> None:
    assert isinstance(named(path), type)


def test_the_commands_are_made_by_a_function() -> None:
    (path,) = INFO["cli"]
    (group,) = named(path)()
    assert (group.name, [command.name for command in group.subcommands]) == ("imagepipeline", ["replay", "verify"])


def test_the_hook_says_the_same_of_its_connection() -> None:
    (connection,) = INFO["connection-types"]
    assert named(connection["hook-class-name"]) is ImagePipelineHook
    assert connection["connection-type"] == ImagePipelineHook.conn_type
    assert connection["hook-name"] == ImagePipelineHook.hook_name


def test_the_hook_says_the_same_of_the_form() -> None:
    form = INFO["connection-types"][0]["ui-field-behaviour"]
    of_hook = ImagePipelineHook.get_ui_field_behaviour()
    assert sorted(form["hidden-fields"]) == sorted(of_hook["hidden_fields"])
    assert form["relabeling"] == of_hook["relabeling"]
    assert form["placeholders"].keys() >= of_hook["placeholders"].keys()
    assert of_hook["placeholders"]["host"] in form["placeholders"]["host"]


def test_the_form_offers_no_field_that_it_hides() -> None:
    form = INFO["connection-types"][0]["ui-field-behaviour"]
    assert not set(form["hidden-fields"]) & {*form["relabeling"], *form["placeholders"]}


def operators() -> list[type[BaseOperator]]:
    found = []
    for room in ("operators", "sensors", "transfers"):
        package = importlib.import_module(f"airflow_imagepipeline.{room}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            members = vars(importlib.import_module(module.name)).values()
            found += [cls for cls in members if isinstance(cls, type) and issubclass(cls, BaseOperator)]
    return [cls for cls in found if cls.__module__.startswith("airflow_imagepipeline.")]


def test_the_links_that_are_listed_are_those_that_operators_carry() -> None:
    carried: set[type[BaseOperatorLink]] = {type(link) for cls in operators() for link in cls.operator_extra_links}
    assert {named(path) for path in INFO["extra-links"]} == carried
