"""Speech Commands, on a few short sounds in the official form."""

import wave

import numpy as np
import pytest

from mercer.data import SPEECH_COMMANDS, load_speech_commands, mel_cepstrum
from mercer.errors import FileFormatError


def save_sound(path, values, *, rate=16_000, channels=1):
    path.parent.mkdir(exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.asarray(values, dtype="<i2").tobytes())


def save_speech_commands(folder, *, words=SPEECH_COMMANDS, n_values=16_000):
    """Three sounds a word: one to train, one to validate, one to test."""
    draw = np.random.default_rng(0)
    for word in words:
        for name in ("0a_nohash_0", "0b_nohash_0", "0c_nohash_0"):
            save_sound(folder / word / f"{name}.wav", draw.integers(-9000, 9000, n_values))
    (folder / "validation_list.txt").write_text("".join(f"{word}/0b_nohash_0.wav\n" for word in words))
    (folder / "testing_list.txt").write_text("".join(f"{word}/0c_nohash_0.wav\n" for word in words))
    return folder


def test_words_are_split_by_the_official_lists_and_filled_up_with_silence(tmp_path):
    save_speech_commands(tmp_path, n_values=300)
    save_sound(tmp_path / "no" / "0a_nohash_0.wav", [-32_768, 16_384])
    found = load_speech_commands(tmp_path)
    assert len(found.words) == len(set(found.words)) == 35
    for part in (found.train, found.valid, found.test):
        assert part.inputs.shape == (35, 16_000)
        assert part.targets.tolist() == list(range(35))
    assert found.train.inputs[1, :4].tolist() == [-1.0, 0.5, 0.0, 0.0]


def test_ten_words_at_half_the_rate_and_as_cepstra(tmp_path):
    save_speech_commands(tmp_path, words=SPEECH_COMMANDS[:10], n_values=300)
    whole, half = (load_speech_commands(tmp_path, classes=10, every=every) for every in (1, 2))
    assert half.rate == 8_000
    assert half.words[:3] == ("yes", "no", "up")
    assert np.array_equal(half.test.inputs, whole.test.inputs[:, ::2])
    cepstra = load_speech_commands(tmp_path, classes=10, features="mfcc", limit=1)
    assert cepstra.valid.inputs.shape == (10, 161, 20)
    assert np.array_equal(cepstra.valid.inputs, mel_cepstrum(whole.valid.inputs))


def test_a_tone_is_loudest_in_the_band_of_its_pitch():
    t = np.arange(16_000) / 16_000
    pitches = (500.0, 1000.0, 4000.0)
    cepstra = mel_cepstrum(np.stack([np.sin(2 * np.pi * f * t) for f in pitches]), n_coefficients=64)
    from scipy.fft import idct

    bands = idct(cepstra[:, 80].astype(float), norm="ortho").argmax(-1)  # the cosine transform is undone
    mel = 2595.0 * np.log10(1.0 + np.array(pitches) / 700.0)
    expected = mel / (2595.0 * np.log10(1.0 + 8000.0 / 700.0)) * 65 - 1
    assert np.abs(bands - expected).max() <= 1.5  # frequencies are 80 Hz apart, wider than the lowest bands


def test_files_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"validation_list\.txt is missing"):
        load_speech_commands(tmp_path)
    save_speech_commands(tmp_path, words=SPEECH_COMMANDS[:9], n_values=10)
    with pytest.raises(FileNotFoundError, match="go is missing"):
        load_speech_commands(tmp_path, classes=10)
    save_sound(tmp_path / "go" / "a.wav", [0, 0], rate=8_000)
    with pytest.raises(FileFormatError, match="1 channels, 16 bits and 8000 Hz"):
        load_speech_commands(tmp_path, classes=10)
    (tmp_path / "go" / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(FileFormatError, match="no sound that can be read"):
        load_speech_commands(tmp_path, classes=10)
    for options, message in (
        ({"classes": 12}, "is 10 or 35"),
        ({"features": "mel"}, "'raw' or 'mfcc'"),
        ({"every": 0}, "must be >= 1"),
    ):
        with pytest.raises(ValueError, match=message):
            load_speech_commands(tmp_path, **options)
