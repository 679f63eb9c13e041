"""The model that MLflow loads: images in, labels out."""

import json

import mlflow
import numpy as np

from flexseg.export.runners.run import cleaned


class Segmentation(mlflow.pyfunc.PythonModel):
    """Images [N, H, W, C] to labels [N, H, W]."""

    def load_context(self, context: mlflow.pyfunc.PythonModelContext) -> None:
        """Open the graph."""
        import onnxruntime

        file, providers = context.artifacts["graph"], ["CPUExecutionProvider"]
        self.graph = onnxruntime.InferenceSession(file, providers=providers)
        facts = self.graph.get_modelmeta().custom_metadata_map
        self.names, self.steps = (json.loads(facts[k]) for k in ("classes", "postprocessing"))

    def predict(
        self,
        context: mlflow.pyfunc.PythonModelContext,
        model_input: np.ndarray,
        params: dict | None = None,
    ) -> np.ndarray:
        """Predict images of one size."""
        labels = self.graph.run(["labels"], {"images": model_input})[0]
        if not self.steps:
            return labels
        return np.stack([cleaned(one, self.names, self.steps) for one in labels])


mlflow.models.set_model(Segmentation())
