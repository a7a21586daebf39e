"""The model as MLServer serves it: a custom runtime with the codec for numpy."""

from __future__ import annotations

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.models import tensor_model


class Runtime(MLModel):
    """Predicts with arrays."""

    async def load(self) -> bool:
        """Make the model."""
        self._infer = tensor_model()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Predict."""
        inputs = {each.name: NumpyCodec.decode_input(each) for each in payload.inputs}
        outputs = [NumpyCodec.encode_output(name, array) for name, array in self._infer(inputs).items()]
        return InferenceResponse(model_name=self.name, outputs=outputs)
