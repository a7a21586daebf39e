"""A model as it was written for MISTK 1.2: lists of records as JSON, an ensemble, and a smaller model."""

import json
import os

from mistk import cfg
from mistk.data import MistkDataRecord, MistkDataRecordList
from mistk.model.abstract_model import AbstractModel
from mistk.utils.csv_utils import validate_predictions_csv
from mistk.utils.file_utils import validate_predictions
from mistk.utils.json_utils import json_to_mistk_data_record_list, mistk_data_record_list_to_json_file


class Constant(AbstractModel):
    def __init__(self):
        AbstractModel.__init__(self)
        self._values = []
        self._host = cfg.get("service", "host", fallback="nowhere")

    def do_initialize(self, objectives, props, hparams):
        self._hparams = hparams

    def do_build_model(self, path=None):
        if path and os.path.exists(os.path.join(path, "values.json")):
            with open(os.path.join(path, "values.json")) as reader:
                self._values = json.load(reader)

    def do_build_ensemble(self, ensemble_path=None, model_paths=None):
        self._values = []
        for name in sorted(model_paths):
            with open(os.path.join(model_paths[name], "values.json")) as reader:
                self._values += json.load(reader)

    def do_train(self):
        self._values = [self._hparams["value"]]

    def do_save_model(self, path):
        with open(os.path.join(path, "values.json"), "w") as writer:
            json.dump(self._values, writer)

    def do_miniaturize(self, dataPath, includeHalfPrecision):
        with open(os.path.join(dataPath, "values.json"), "w") as writer:
            json.dump([round(value, 1 if includeHalfPrecision else 3) for value in self._values], writer)

    def do_predict(self):
        pass

    def do_save_predictions(self, dataPath):
        path = os.path.join(dataPath, "predictions.json")
        records = MistkDataRecordList()
        records.items = []
        for number, value in enumerate(self._values):
            record = MistkDataRecord(record_id=str(number))
            record.values = [{"label": str(value), "confidence": "1"}]
            records.items.append(record)
        mistk_data_record_list_to_json_file(records, path, indent=2)
        again = json_to_mistk_data_record_list(path)
        self.update_status(
            {
                "ids": [item.record_id for item in again.items],
                "json": validate_predictions(dataPath),
                "csv": validate_predictions_csv(dataPath),
                "host": self._host,
            }
        )
