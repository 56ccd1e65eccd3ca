"""What Airflow learns about this provider before it imports any of it."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, as Airflow's ``provider_info.schema.json`` describes it."""
    return {
        "package-name": "airflow-provider-imagepipeline",
        "name": "ImagePipeline.io",
        "description": "Image-to-image jobs of `ImagePipeline.io <https://imagepipeline.io/>`__ (unofficial).",
        "connection-types": [
            {
                "connection-type": "imagepipeline",
                "hook-class-name": "airflow_imagepipeline.hooks.imagepipeline.ImagePipelineHook",
                "hook-name": "ImagePipeline",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "extra"],
                    "relabeling": {"password": "API key"},
                    "placeholders": {
                        "host": "https://api.imagepipeline.io (leave empty for this)",
                        "password": "the key of your ImagePipeline.io account",
                    },
                },
            }
        ],
        "extra-links": ["airflow_imagepipeline.links.storage.LandedImageLink"],
        "cli": ["airflow_imagepipeline.cli.get_cli_commands"],
        "config": {
            "imagepipeline": {
                "description": "Options of the tab *Images* in Airflow's UI.",
                "options": {
                    "images_tab_aws_conn_id": {
                        "description": "Connection for ``s3://`` pictures of tasks whose own is not known.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": None,
                        "default": "aws_default",
                    },
                    "images_tab_file_root": {
                        "description": (
                            "Folders (absolute paths, parted by commas) below which ``file://`` pictures may be shown. "
                            "Empty means the destination of the task that is looked at."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/srv/pictures",
                        "default": "",
                    },
                },
            }
        },
    }
