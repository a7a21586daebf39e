"""The hooks of the model, which use the other modules."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mistk_service import AbstractModel, MistkDataset, RequestError

from .checkpoint import Checkpoint, save_checkpoint
from .compact import Precision, load_model, reduced, save_compact
from .ensemble import Ensemble
from .errors import BadCheckpoint, NotReady, UnreadableData
from .hyperparameters import Hyperparameters
from .images import CLASSES, Images
from .network import probabilities
from .predictions import Predictions, explanation, save_predictions
from .reader import read_images
from .records import decode_records
from .sources import read_source
from .trainer import EpochResult, Trainer

__all__ = ["Digits"]

#: Images that predict computes between two pause points.
_CHUNK = 64


class Digits(AbstractModel):
    """Recognises handwritten digits in 8 x 8 pixels with a small perceptron.

    An interrupted training continues exactly where it was, also after it was saved and rebuilt in another process.
    """

    max_batch_size: ClassVar[int] = 64
    record_encoding = "base64"
    inputs = (("pixels", "float32", (-1, 64)),)
    outputs = (("label", "int64", (-1,)), ("confidence", "float64", (-1,)))

    def __init__(self) -> None:
        self._given: dict[str, Any] = {}
        self._settings = Hyperparameters()
        self._images: dict[str, Images] = {}
        self._trainer: Trainer | None = None
        #: The classifier that predicts instead of the trainer's network.
        self._ensemble: Ensemble | None = None
        #: The ensemble of ``buildEnsemble``, for the ``buildModel`` that follows.
        self._assembled: Ensemble | None = None
        self._trained_on: str | None = None
        self._results: dict[str, float] = {}
        #: The predictions of this network for this test set; None after a change of either.
        self._test_accuracy: float | None = None
        self._predictions: Predictions | None = None

    # --- hooks ------------------------------------------------------------------------------------------------------

    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: dict[str, Any]) -> None:  # noqa: ARG002
        """Set the hyperparameters; see :class:`Hyperparameters`. Properties are ignored.

        Raises:
            BadHyperparameters: a name is unknown or a value out of bounds.
            RequestError: an objective is generation.
        """
        if "generation" in objectives:
            raise RequestError(
                "This model recognises digits and does not generate; leave out generation.", field="objectives"
            )
        self._settings = Hyperparameters().updated(hparams)
        self._given = dict(hparams)

    def do_load_data(self, dataset_map: dict[str, MistkDataset]) -> None:
        """Read the datasets ``train`` and ``test``; one that is not named stays loaded.

        Raises:
            UnreadableData: one cannot be read or has other contents, or ``train`` has no labels.
        """
        loaded = {role: self._read(role, dataset) for role, dataset in dataset_map.items()}
        self._images |= loaded
        if "test" in loaded:
            self._test_accuracy = None
        self._show()

    def do_build_model(self, path: str | None = None) -> None:
        """Create an untrained network, or load the model in the folder ``path``.

        It may be a checkpoint, a compact file or an ensemble. An ensemble that ``buildEnsemble`` has just built is kept.

        Hyperparameters of ``initialize`` take precedence over those of the checkpoint, except for the size of the network
        and the seed.

        Raises:
            BadCheckpoint: ``path`` has none, or it does not match ``initialize``.
        """
        assembled, self._assembled = self._assembled, None
        ensemble = assembled or (Ensemble.load(path) if path else None)
        if ensemble is not None:
            self._trainer, self._trained_on, self._results = None, None, {}
        elif path:
            self._take(load_model(path), path)
        else:
            self._trainer, self._trained_on, self._results = Trainer.new(self._settings), None, {}
        self._ensemble = ensemble
        self._predictions, self._test_accuracy = None, None
        self.report_params(self._settings.to_dict())
        self._show()

    def do_build_ensemble(self, ensemble_path: str | None = None, model_paths: dict[str, str] | None = None) -> None:
        """Combine saved models into one, whose probabilities are the mean of theirs.

        Raises:
            BadCheckpoint: a model cannot be read.
            RequestError: there are no models, and no saved ensemble at ``ensemble_path``.
        """
        if model_paths:
            self._assembled = Ensemble.of_models(model_paths)
        elif not ensemble_path or Ensemble.load(ensemble_path) is None:
            raise RequestError(
                "There are no models to combine: give modelPaths, name → folder that saveModel wrote, or as ensemblePath the "
                "folder of a saved ensemble.",
                field="modelPaths",
            )

    def do_train(self) -> None:
        """Train for ``epochs`` epochs, or finish the training that was interrupted.

        Raises:
            NotReady: there is no dataset ``train``.
            TrainingDiverged: the loss is no longer finite.
        """
        trainer, images = self._built(), self._loaded("train")
        if (labels := images.labels) is None:
            raise NotReady("The training images have no labels.")
        fingerprint = images.fingerprint()
        epochs = trainer.begin(self._settings.epochs, same_data=fingerprint == self._trained_on)
        self._trained_on = fingerprint
        self._show()
        for _ in self.steps(epochs, "epochs", initial=trainer.epoch - trainer.run_start):
            trainer.open_epoch(len(images))
            while trainer.in_epoch:
                # An epoch may be long, so a pause waits for the batch only.
                self.pause_point()
                trainer.step(images, labels, self._settings)
            self._report(trainer.close_epoch())

    def do_save_model(self, path: str) -> None:
        """Write the network and the state of its training to the folder ``path``, as one file.

        Raises:
            CannotWrite: the folder cannot be created or written to.
        """
        if self._ensemble is not None:
            self._ensemble.save(path)
        else:
            save_checkpoint(path, Checkpoint(self._built(), self._settings, self._trained_on, self._results))

    def do_miniaturize(self, dataPath: str, includeHalfPrecision: bool) -> None:  # noqa: N803 - MISTK's names
        """Write the network with weights of 8 bits, on request also with half precision, and report the accuracies.

        Raises:
            CannotWrite: the folder cannot be created or written to.
            NotReady: an ensemble has been built.
        """
        parameters, images = self._built().parameters, self._images.get("test")
        precisions: list[Precision] = ["int8", "float16"] if includeHalfPrecision else ["int8"]
        values: dict[str, float] = {}
        for precision in self.steps(precisions, "files"):
            file = save_compact(dataPath, parameters, self._settings, precision)
            values[f"{precision}_bytes"] = file.stat().st_size
            if images is not None and images.labels is not None:
                found = Predictions(images.ids, probabilities(reduced(parameters, precision), images.pixels))
                values[f"{precision}_accuracy"] = found.accuracy(images.labels)
        self.report_metrics(values, step=self._built().epoch)
        self._results |= values
        self._show()

    def do_predict(self) -> None:
        """Classify the dataset ``test``; with labels, report the accuracy.

        Raises:
            NotReady: there is no dataset ``test``.
        """
        images = self._loaded("test")
        found = np.empty((len(images), CLASSES))
        for start in self.steps(range(0, len(images), _CHUNK), "batches"):
            chunk = slice(start, start + _CHUNK)
            found[chunk] = self._probabilities(images.pixels[chunk])
        self._predictions = Predictions(images.ids, found)
        if images.labels is not None:
            self._test_accuracy = self._predictions.accuracy(images.labels)
            self.report_metrics(
                {"test_accuracy": self._test_accuracy}, step=self._trainer.epoch if self._trainer else None
            )
        self._show()

    def do_save_predictions(self, dataPath: str) -> None:  # noqa: N803 - MISTK's name
        """Write the last predictions to ``predictions.csv`` in the folder ``dataPath``.

        Raises:
            NotReady: nothing was predicted since the model was built.
            CannotWrite: the folder cannot be created or written to.
        """
        if self._predictions is None:
            raise NotReady("There are no predictions to save: call predict first.")
        save_predictions(dataPath, self._predictions)

    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, Any]:
        """Classify the images of a request, all at once.

        Args:
            data_map: identifier → 64 float32 numbers, little-endian, row by row, 0..16, in base64.
            details: whether to add ``probabilities``, a list by digit, and ``explanation``, a text in Markdown.

        Returns:
            identifier → ``{"label": digit, "confidence": probability}``.

        Raises:
            BadRecord: a record is not an image.
        """
        pixels = decode_records(data_map)
        found = self._probabilities(pixels)
        answers = Predictions(tuple(data_map), found).answers()
        if details:
            for answer, image, row in zip(answers.values(), pixels, found, strict=True):
                answer["probabilities"] = row.round(6).tolist()
                answer["explanation"] = explanation(image, row)
        return answers

    def do_stream_predict_source(self, source: str, format: str | None, props: dict[str, Any]) -> None:
        """Classify the images of a source as they arrive; see :func:`read_source`.

        A folder is watched until the client cancels.

        Raises:
            BadSource: it cannot be read, or the format or a property is unknown.
            UnreadableData: it does not contain digits; the message names the place.
        """
        images = 0
        for found in read_source(source, format, props):
            self.pause_point()
            if isinstance(found, Images):
                images += len(found)
                self.update_source_predictions(Predictions(found.ids, self._probabilities(found.pixels)).answers())
            elif found:
                self.update_source_predictions(found)
        self.report_metrics({"source_images": images})

    def do_infer(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Classify images: ``pixels``, a row of 64 numbers from 0 to 16 for each.

        Returns:
            ``label``, a digit for each, and ``confidence``, its probability.
        """
        found = Predictions((), self._probabilities(inputs["pixels"]))
        return {"label": found.labels, "confidence": found.confidences}

    # --- what they share --------------------------------------------------------------------------------------------

    def _read(self, role: str, dataset: MistkDataset) -> Images:
        if role not in {"train", "test"}:
            raise UnreadableData(f"This model does not use a dataset {role!r}; it takes train and test.")
        if not dataset.data_path:
            raise UnreadableData(f"The dataset {role!r} has no dataPath.")
        images = read_images(dataset.data_path, role=role, file_format=dataset.format)
        if role == "train" and images.labels is None:
            raise UnreadableData(f"{dataset.data_path!r} has no labels, which training needs.")
        return images

    def _take(self, checkpoint: Checkpoint, path: str) -> None:
        settings = checkpoint.settings.updated(self._given)
        for name in ("hidden", "seed"):
            saved, asked = getattr(checkpoint.settings, name), getattr(settings, name)
            if saved != asked:
                raise BadCheckpoint(
                    f"The checkpoint at {path!r} was made with {name}={saved}, which cannot become {asked}: "
                    f"leave {name} out of the hyperparameters, or build without a checkpoint."
                )
        self._settings, self._trainer = settings, checkpoint.trainer
        self._trained_on, self._results = checkpoint.trained_on, dict(checkpoint.results)
        if "epochs" in self._given:
            self._trainer.extend(settings.epochs)

    def _probabilities(self, pixels: NDArray[Any]) -> NDArray[Any]:
        if self._ensemble is not None:
            return self._ensemble.probabilities(pixels)
        return probabilities(self._built().parameters, pixels)

    def _built(self) -> Trainer:
        if self._ensemble is not None:
            raise NotReady("An ensemble can only predict and be saved. Build one of its models to continue with that.")
        if self._trainer is None:
            raise NotReady("There is no network yet: call buildModel first.")
        return self._trainer

    def _loaded(self, role: str) -> Images:
        if role not in self._images:
            raise NotReady(f"There is no dataset {role!r} yet: call loadData with it first.")
        return self._images[role]

    def _report(self, result: EpochResult) -> None:
        self.report_metrics({"loss": result.loss, "accuracy": result.accuracy}, step=result.epoch)
        self._results = {"train_loss": result.loss, "train_accuracy": result.accuracy}
        self._test_accuracy = None
        self._show()

    def _show(self) -> None:
        status: dict[str, Any] = {"images": {role: len(images) for role, images in self._images.items()}}
        if self._ensemble is not None:
            status["members"] = list(self._ensemble.members)
        if self._trainer is not None:
            status |= {
                "weights": self._trainer.parameters.count,
                "epoch": self._trainer.epoch,
                "epochs": self._trainer.run_stop,
            }
        status |= self._results
        if self._test_accuracy is not None:
            status["test_accuracy"] = self._test_accuracy
        self.update_status(status)
