"""Projects, experiments, datasets and iterations: a small tracking API on top of any store in MLflow's vocabulary.

The functions work on one store for the process, chosen by :func:`use`; :class:`Workspace` has the same functions for a
store of your choice. What they write is plain to every client of MLflow:

==========  ===========================================================================================================
here        in the store
==========  ===========================================================================================================
project     an experiment named by the title; its tags have ``mlops.status`` and ``mlops.archived``
experiment  an experiment named ``TITLE/NAME``; the tag ``mlops.projectId`` names the experiment that is its project
dataset     a run of the experiment ``mlops.datasets``, with itself as the dataset input, and tags ``mlops.path`` ...
iteration   a run of its experiment; datasets are dataset inputs, the path to the model is the tag ``mlops.modelPath``
==========  ===========================================================================================================

Descriptions are the tag ``mlflow.note.content``, which MLflow's pages show. Ids are those of the experiment or the run.

An unknown id raises ``ResourceNotFound``, that of a deleted item ``InvalidState``, and an invalid argument
``InvalidParameter``.
"""

from mistk_service.tracking.mlops.current import (
    create_dataset,
    create_experiment,
    create_project,
    get_experiment,
    get_project,
    set_active_experiment,
    set_active_project,
    start_iteration,
    use,
)
from mistk_service.tracking.mlops.iteration import Iteration
from mistk_service.tracking.mlops.workspace import Workspace

__all__ = [
    "Iteration",
    "Workspace",
    "create_dataset",
    "create_experiment",
    "create_project",
    "get_experiment",
    "get_project",
    "set_active_experiment",
    "set_active_project",
    "start_iteration",
    "use",
]
