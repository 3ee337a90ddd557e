"""One step of a request, alone in a quiet process, timed many times.

    python -m benchmarks.floor_steps STEP FILE CORES

prints the wall seconds that each repetition took per picture, as a JSON list. FILE is the picture, the converted image
tower or the model's directory, whichever the step takes.
"""

import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

EDGE = 224
EIGHT = 8
PHRASES, FEATURES = 5854, 512


def decode(file: Path, _cores: int) -> list[float]:
    """Decode a JPEG in full."""
    encoded = file.read_bytes()
    return _timed(lambda: Image.open(io.BytesIO(encoded)).load(), 30)


def resize(file: Path, _cores: int) -> list[float]:
    """Resize the short side to 224 with Pillow's bicubic filter and cut out the middle, as CLIP's processor does."""
    image = Image.open(file)
    image.load()
    scale = EDGE / min(image.size)
    size = int(image.width * scale), int(image.height * scale)

    def step() -> None:
        resized = image.resize(size, Image.Resampling.BICUBIC)
        left, top = (resized.width - EDGE) // 2, (resized.height - EDGE) // 2
        resized.crop((left, top, left + EDGE, top + EDGE))

    return _timed(step, 30)


def normalise(_file: Path, _cores: int) -> list[float]:
    """Turn 224 x 224 samples into the numbers that the encoder takes, channels first."""
    samples = np.random.default_rng(0).integers(0, 256, (EDGE, EDGE, 3), dtype=np.uint8)
    mean, deviation = np.full(3, 0.45, dtype=np.float32), np.full(3, 0.27, dtype=np.float32)
    scale = np.float32(1 / 255)
    return _timed(lambda: np.ascontiguousarray(((samples * scale - mean) / deviation).transpose(2, 0, 1)), 100)


def product(_file: Path, _cores: int) -> list[float]:
    """Multiply 5,854 phrases' features with a picture's, take the softmax, and find the first five."""
    random = np.random.default_rng(0)
    text_features = random.standard_normal((PHRASES, FEATURES), dtype=np.float32) / np.float32(np.sqrt(FEATURES))
    image_features = random.standard_normal(FEATURES, dtype=np.float32) / np.float32(np.sqrt(FEATURES))

    def step() -> None:
        logits = 100.0 * (text_features @ image_features).astype(np.float64)
        exponentials = np.exp(logits - logits.max())
        probabilities = exponentials / exponentials.sum()
        first = np.argpartition(probabilities, -5)[-5:]
        first[np.argsort(-probabilities[first])]

    return _timed(step, 200)


def encoder_one(file: Path, cores: int) -> list[float]:
    """Run OpenVINO's pass of one picture on all cores."""
    return _openvino_passes(file, cores, 1, 40)


def encoder_eight(file: Path, cores: int) -> list[float]:
    """Run OpenVINO's pass of eight pictures on all cores."""
    return _openvino_passes(file, cores, EIGHT, 8)


def encoder_streams(file: Path, cores: int) -> list[float]:
    """Run as many of OpenVINO's passes of one picture side by side as there are cores, each on one core."""
    # Only where it is needed, so that the other steps are alone.
    from service.zero_shot.backends.openvino_backend import openvino  # noqa: PLC0415

    compiled = _compiled(file, 1, {"NUM_STREAMS": cores, "INFERENCE_NUM_THREADS": cores})
    queue = openvino.AsyncInferQueue(compiled, cores)
    pixel_values = _pixel_values(1)
    passes = 10 * cores

    def step() -> None:
        for _ in range(passes):
            queue.start_async({0: pixel_values})
        queue.wait_all()

    return [seconds / passes for seconds in _timed(step, 5, warm_up=1)]


def encoder_torch(folder: Path, cores: int) -> list[float]:
    """Run torch's pass of one picture on all cores."""
    import torch  # noqa: PLC0415  # as above
    import transformers  # noqa: PLC0415

    torch.set_num_threads(cores)
    model: Any = transformers.CLIPModel.from_pretrained(folder, dtype=torch.float32)
    model.eval()
    pixel_values = torch.from_numpy(_pixel_values(1))
    with torch.inference_mode():
        return _timed(lambda: model.get_image_features(pixel_values=pixel_values), 40)


STEPS: dict[str, Callable[[Path, int], list[float]]] = {
    step.__name__: step
    for step in (decode, resize, normalise, product, encoder_one, encoder_eight, encoder_streams, encoder_torch)
}


def _openvino_passes(file: Path, cores: int, pictures: int, times: int) -> list[float]:
    request = _compiled(file, pictures, {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": cores}).create_infer_request()
    pixel_values = _pixel_values(pictures)
    return [
        seconds / pictures for seconds in _timed(lambda: request.infer({0: pixel_values}, share_inputs=True), times)
    ]


def _compiled(file: Path, pictures: int, options: dict[str, Any]) -> Any:
    from service.zero_shot.backends.openvino_backend import openvino  # noqa: PLC0415  # as above

    core = openvino.Core()
    model = core.read_model(file)
    model.reshape([pictures, 3, EDGE, EDGE])
    # Without the hint some processors would compute in half precision unasked.
    return core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", **options})


def _pixel_values(pictures: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(0).standard_normal((pictures, 3, EDGE, EDGE), dtype=np.float32)


def _timed(step: Callable[[], object], times: int, warm_up: int = 5) -> list[float]:
    for _ in range(warm_up):
        step()
    seconds: list[float] = []
    for _ in range(times):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    return seconds


if __name__ == "__main__":
    print(json.dumps(STEPS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))))
