"""Written in the manner of MISTK's documentation: every hook is there, what is not supported raises NotImplementedError."""

import base64
import json
import os
from typing import Any

from mistk_service import AbstractModel


class NearestMean(AbstractModel):
    def __init__(self):
        AbstractModel.__init__(self)
        self._data: Any = None
        self._means: Any = None
        self._predictions: Any = None
        self._props = None
        self._params = None

    def do_initialize(self, objectives, props, hparams):
        self._objectives = objectives
        self._props = props
        self._params = hparams

    def do_load_data(self, dataset_map):
        self._data = {}
        for key in ("train", "test"):
            if key in dataset_map:
                with open(dataset_map[key].data_path) as file:
                    self._data[key] = json.load(file)

    def do_build_model(self, path=None):
        self._means = {}
        if path:
            with open(os.path.join(path, "means.json")) as file:
                self._means = json.load(file)

    def do_train(self):
        sums: dict[Any, list[Any]] = {}
        for number, (label, value) in enumerate(self._data["train"]):
            sums.setdefault(label, []).append(value)
            self.update_status({"rows": number + 1})
        self._means = {label: sum(values) / len(values) for label, values in sums.items()}

    def do_save_model(self, path):
        with open(os.path.join(path, "means.json"), "w") as file:
            json.dump(self._means, file)

    def do_predict(self):
        self._predictions = [self._nearest(value) for value in self._data["test"]]

    def do_save_predictions(self, dataPath):
        with open(os.path.join(dataPath, "predictions.json"), "w") as file:
            json.dump(self._predictions, file)

    def do_stream_predict(self, data_map, details=False):
        answers = {}
        for key, record in data_map.items():
            answers[key] = self._nearest(float(base64.b64decode(record)))
        if details:
            answers["details"] = f"The nearest of **{len(self._means)}** means."
        return answers

    def _nearest(self, value):
        return min(self._means, key=lambda label: abs(self._means[label] - value))

    def do_update_stream_properties(self, props):
        raise NotImplementedError()

    def do_generate(self):
        raise NotImplementedError("this model classifies")

    def do_save_generations(self, dataPath):
        raise NotImplementedError()

    def do_pause(self):
        raise NotImplementedError()

    def do_resume_training(self):
        raise NotImplementedError()

    def do_resume_predict(self):
        raise NotImplementedError()

    def do_terminate(self):
        pass

    def do_reset(self):
        self._means = None
