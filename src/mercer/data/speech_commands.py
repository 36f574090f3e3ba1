"""Speech Commands: one spoken word a file, as raw sound or as cepstral coefficients."""

from __future__ import annotations

import os
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mercer.config import require_memory
from mercer.data.lra.task import Split
from mercer.errors import FileFormatError
from mercer.progress import track

__all__ = ["SPEECH_COMMANDS", "SpeechCommands", "load_speech_commands", "mel_cepstrum"]

Array = np.ndarray[Any, Any]
_TEN = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
_OTHERS = (
    "backward bed bird cat dog eight five follow forward four happy house learn marvin nine one seven sheila six three "
    "tree two visual wow zero"
)
SPEECH_COMMANDS = (*_TEN, *_OTHERS.split())
RATE = 16_000


@dataclass(frozen=True)
class SpeechCommands:
    """Words of a second.

    Attributes:
        train, valid, test: inputs ``(n, 16000 / every)`` float32 from -1 to 1, or cepstra ``(n, 161, 20)``; targets
            ``(n,)`` int64.
        words: what targets stand for, in their order.
        rate: values a second, of sound.
    """

    train: Split
    valid: Split
    test: Split
    words: tuple[str, ...]
    rate: int


def load_speech_commands(
    path: str | os.PathLike[str],
    *,
    classes: Literal[10, 35] = 35,
    features: Literal["raw", "mfcc"] = "raw",
    every: int = 1,
    limit: int | None = None,
) -> SpeechCommands:
    """Version 0.02 as it is distributed, with its own split; nothing is downloaded.

    Args:
        path: a folder with a folder of ``*.wav`` a word, ``validation_list.txt`` and ``testing_list.txt``.
        classes: all 35 words, or the ten commands "yes" to "go".
        features: "raw" sound, or "mfcc" (:func:`mel_cepstrum`).
        every: keep one value in so many, without a filter before, as in tests at 8 kHz of models of 16 kHz.
        limit: at most so many files of each word in each part.

    Raises:
        ValueError: another number of classes, other features, or a number below 1.
        FileNotFoundError: a list or the folder of a word is missing.
        FileFormatError: a file is no sound of one channel, 16 bits and 16 kHz.
        MemoryBudgetError: it would not fit; give ``limit``.

    Source: Warden, Speech Commands (2018), arXiv 1804.03209.
    """
    if classes not in (10, 35) or features not in ("raw", "mfcc"):
        raise ValueError(f"load_speech_commands: classes={classes} is 10 or 35, features={features!r} 'raw' or 'mfcc'.")
    if every < 1 or (limit is not None and limit < 1):
        raise ValueError(f"load_speech_commands: every={every} and limit={limit} must be >= 1.")
    folder, words = Path(path), _TEN if classes == 10 else SPEECH_COMMANDS
    lists = {}
    for part, name in (("valid", "validation_list.txt"), ("test", "testing_list.txt")):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing: load_speech_commands reads version 0.02 unpacked.")
        lists[part] = set((folder / name).read_text().split())
    chosen: dict[str, list[tuple[Path, int]]] = {"train": [], "valid": [], "test": []}
    for label, word in enumerate(words):
        if not (folder / word).is_dir():
            raise FileNotFoundError(f"{folder / word} is missing: it holds the sounds of {word!r}.")
        found: dict[str, list[tuple[Path, int]]] = {part: [] for part in chosen}
        for file in sorted((folder / word).glob("*.wav")):
            part = next((name for name, files in lists.items() if f"{word}/{file.name}" in files), "train")
            found[part].append((file, label))
        for part, files in found.items():
            chosen[part] += files[:limit]
    count = sum(map(len, chosen.values()))
    require_memory(4 * count * RATE // every, asked=f"{count} seconds of sound", instead="Give limit=.")
    parts = {part: _read(files, features, every) for part, files in chosen.items()}
    return SpeechCommands(parts["train"], parts["valid"], parts["test"], words, RATE // every)


def _read(files: list[tuple[Path, int]], features: str, every: int) -> Split:
    rows = [_sound(file)[::every] for file, _ in track(files, description="reading sounds")]
    sounds = np.stack(rows) if rows else np.zeros((0, -(-RATE // every)), dtype=np.float32)
    inputs = mel_cepstrum(sounds, rate=RATE // every) if features == "mfcc" else sounds
    return Split(inputs, np.array([label for _, label in files], dtype=np.int64))


def _sound(path: Path) -> Array:
    """A second of it, cut or filled up with silence."""
    try:
        with wave.open(str(path)) as file:
            form = file.getnchannels(), 8 * file.getsampwidth(), file.getframerate()
            data = file.readframes(RATE)
    except (wave.Error, EOFError) as error:
        raise FileFormatError(f"{path} is no sound that can be read: {error}") from None
    if form != (1, 16, RATE):
        raise FileFormatError(f"{path} has {form[0]} channels, {form[1]} bits and {form[2]} Hz, not 1, 16 and {RATE}.")
    values = np.frombuffer(data, dtype="<i2").astype(np.float32) / np.float32(32_768.0)
    return np.pad(values, (0, RATE - len(values)))


def mel_cepstrum(sounds: Array, *, rate: int = RATE, n_coefficients: int = 20) -> Array:
    """Mel-frequency cepstral coefficients ``(n, steps, n_coefficients)`` of sounds ``(n, values)``, float32.

    Windows of 200 values (Hann) every 100, reflected at both ends; powers; 64 triangles even on the mel scale of HTK up
    to ``rate / 2``; logarithm of what is there and 1e-6; orthonormal cosine transform. These are the settings of the
    papers on long sequences, which take them from torchaudio.

    >>> mel_cepstrum(np.zeros((2, 16_000))).shape
    (2, 161, 20)
    """
    from scipy.fft import dct

    padded = np.pad(np.asarray(sounds, dtype=np.float32), ((0, 0), (100, 100)), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 200, axis=1)[:, ::100]
    window = (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(200) / 200)).astype(np.float32)
    power = np.abs(np.fft.rfft(frames * window)) ** 2  # (n, steps, 101)
    mels = np.linspace(0.0, 2595.0 * np.log10(1.0 + 0.5 * rate / 700.0), 66)
    corners = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    rise = (np.linspace(0.0, 0.5 * rate, 101)[:, None] - corners[:-1]) / np.diff(corners)
    triangles = np.clip(np.minimum(rise[:, :-1], 1.0 - rise[:, 1:]), 0.0, None)  # (101, 64)
    logs = np.log(power @ triangles + 1e-6)
    found: Array = dct(logs, type=2, norm="ortho")[..., :n_coefficients].astype(np.float32)
    return found
