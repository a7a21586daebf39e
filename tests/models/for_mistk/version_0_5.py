"""A model as it was written for MISTK 0.5: the earliest import, no ``details``, and a logger of MISTK."""

import base64
import json
import os

from mistk import logger
from mistk.abstract_model import AbstractModel


class MajorityModel(AbstractModel):
    def __init__(self):
        AbstractModel.__init__(self)
        self._rows = {}
        self._answer = None
        self._predictions = None

    def do_initialize(self, objectives, props, hparams):
        logger.info("objectives: %s", objectives)
        self._file_name = (props or {}).get("model_file_name", "majority.json")

    def do_load_data(self, dataset_map):
        for key, dataset in dataset_map.items():
            if dataset.to_dict()["object_info"]["kind"] != "MistkDataset":
                raise RuntimeError("no dataset")
            with open(dataset.data_path) as reader:
                self._rows[key] = json.load(reader)

    def do_build_model(self, path=None):
        self._answer = None
        if path:
            with open(os.path.join(path, self._file_name)) as reader:
                self._answer = json.load(reader)

    def do_train(self):
        labels = [label for label, _ in self._rows["train"]]
        self._answer = max(sorted(set(labels)), key=labels.count)
        self.update_status({"state": self.state})
        self.ready()

    def do_save_model(self, path):
        with open(os.path.join(path, self._file_name), "w") as writer:
            json.dump(self._answer, writer)

    def do_pause(self):
        raise NotImplementedError()

    def do_resume_training(self):
        raise NotImplementedError()

    def do_resume_predict(self):
        raise NotImplementedError()

    def do_predict(self):
        self._predictions = [self._answer for _ in self._rows["test"]]

    def do_save_predictions(self, dataPath):
        with open(os.path.join(dataPath, "predictions.csv"), "w") as writer:
            for number, label in enumerate(self._predictions):
                writer.write(f"{number},{label}\n")

    def do_stream_predict(self, data_map):
        return {key: [self._answer, len(base64.b64decode(value))] for key, value in data_map.items()}

    def do_generate(self):
        raise NotImplementedError()

    def do_save_generations(self, dataPath):
        raise NotImplementedError()

    def do_terminate(self):
        pass

    def do_reset(self):
        pass
