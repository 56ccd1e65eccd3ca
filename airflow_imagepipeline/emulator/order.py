"""What a caller asks to have made, in words that no generation of the API owns.

A generation's module turns its own wire fields into an :class:`EditOrder`; everything behind that line (jobs, worker,
editing) knows orders only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILTERED_WORDS = frozenset({"nsfw", "nude", "explicit"})
_TOKEN_LIMIT = 75
FIRST_MODEL = "v1"


def words_of(text: str) -> tuple[str, ...]:
    """Split a prompt into its lower-case words, at most 75 of them.

    The API's page allows 75 tokens. A real tokenizer needs the model's vocabulary, so a word counts as one token here
    and what follows the 75th has no effect, instead of being refused.

    :param text: the prompt.
    :return: the words in their order.
    """
    return tuple(re.findall(r"\w+", text.lower())[:_TOKEN_LIMIT])


@dataclass(frozen=True, kw_only=True)
class EditOrder:
    """One validated request for edited images.

    :param model_id: the model's name; another name gives another picture.
    :param init_image: link to the image to edit; None fails the job.
    :param prompt: what the picture is to become.
    :param seed: reproduces the images; the n-th sample uses ``seed + n``, counted from 0.
    :param negative_prompt: what the picture is to avoid; shifts the colours a little.
    :param num_inference_steps: 1 (coarse) to 100 (fine).
    :param strength: 0 (the input, resized) to 1 (as far from the input as the style goes).
    :param samples: number of images, 1 to 4.
    :param guidance_scale: 1 (the input's colours) to 20 (the prompt's colours).
    :param width: pixels, or None for the input's width.
    :param height: pixels, or None for the input's height.
    :param safety_checker: True makes images black whose prompt asks for explicit content.
    :param refiner: True sharpens the result.
    :param model: the version of the model, which no caller chooses; another one gives another look.
    :param further_images: links to images that shine through the edited one a little.
    :param technique: the name of a technique, or None to let the prompt choose.
    :param palette: colours as six hexadecimal digits each; none lets the prompt choose.
    :param input_saturation: 0 (takes all colour from the inputs) over 1 (leaves them) to 2 (twice the colour).
    :param calm: 0 (leaves the result's colours) to 1 (takes half of their saturation).
    :param refine_strength: 0 to 1 (sharpens the result most).
    :param longest_side: pixels of the long side at most, when the input's own size is kept.
    :param keeps_shape: when only one side is asked for, True takes the other from the input's shape, False the input's.
    :param output_format: ``png``, ``jpeg`` or ``webp``.
    :param is_signed: True writes a note of provenance into the files.
    :param refuses_explicit: True fails a job whose prompt asks for explicit content.
    :param warnings: what the caller should know about the order.
    :param making: ``edit``, ``cut-out``, ``background`` or ``upscale``.
    :param knobs: what only this making knows.
    """

    model_id: str
    init_image: str | None
    prompt: str
    seed: int
    negative_prompt: str = ""
    num_inference_steps: int = 30
    strength: float = 0.75
    samples: int = 1
    guidance_scale: float = 7.5
    width: int | None = None
    height: int | None = None
    safety_checker: bool = False
    refiner: bool = False
    model: str = FIRST_MODEL
    further_images: tuple[str, ...] = ()
    technique: str | None = None
    palette: tuple[str, ...] = ()
    input_saturation: float = 1.0
    calm: float = 0.0
    refine_strength: float = 0.0
    longest_side: int = 1024
    keeps_shape: bool = True
    output_format: str = "png"
    is_signed: bool = False
    refuses_explicit: bool = False
    warnings: tuple[str, ...] = ()
    making: str = "edit"
    knobs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> int:
        """Count the files of this order's job."""
        return 2 if self.knobs.get("recolor") else self.samples

    @property
    def is_filtered(self) -> bool:
        """Say whether the safety checker blacks out the images of this order."""
        return self.safety_checker and self._is_explicit

    @property
    def is_refused(self) -> bool:
        """Say whether the content policy fails this order's job."""
        return self.refuses_explicit and self._is_explicit

    @property
    def _is_explicit(self) -> bool:
        return not _FILTERED_WORDS.isdisjoint(words_of(self.prompt))
