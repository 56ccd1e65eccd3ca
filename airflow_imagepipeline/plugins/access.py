"""Who may see the images of a DAG: whoever may read its task instances and their XComs, as Airflow itself says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.models.dag import DagModel

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser

_READ = (DagAccessEntity.TASK_INSTANCE, DagAccessEntity.XCOM)


def may_read(user: BaseUser, dag_id: str) -> bool:
    """
    Tell whether a user may read task instances and XComs of a DAG.

    An auth manager may say yes for a DAG that does not exist: nothing is found there later.
    """
    manager = get_auth_manager()
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return all(
        manager.is_authorized_dag(method="GET", access_entity=entity, details=details, user=user) for entity in _READ
    )
