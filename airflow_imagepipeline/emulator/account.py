"""The account behind the key: what it may still spend, and what the API tells about it.

The key itself stands in the answers, as it does in the vendor's: whoever logs them logs the key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from .settings import Settings

_OPENING_CREDITS = 20_000  # of an account without a limit; it goes down, but no job is refused for it


class Account:
    """Takes credits and gives them back.

    :param settings: ``credits`` is counted down there, so that it can be topped up while the emulator runs.
    """

    def __init__(self, settings: Settings) -> None:
        """Start without a job."""
        self._settings = settings
        self._spent = 0

    @property
    def credits(self) -> int:
        """Jobs that are left."""
        limit = self._settings.credits
        return max(0, _OPENING_CREDITS - self._spent) if limit is None else limit

    @property
    def balance_usd(self) -> float:
        """The same as money."""
        return round(self.credits * self._settings.price_usd, 4)

    def charge(self) -> None:
        """Take the credit of one job.

        :raises HTTPException: 402 when none is left.
        """
        if self._settings.credits is not None:
            if self._settings.credits <= 0:
                raise HTTPException(402, "No credits left")
            self._settings.credits -= 1
        self._spent += 1

    def refund(self) -> None:
        """Give the credit of one job back."""
        if self._settings.credits is not None:
            self._settings.credits += 1
        self._spent -= 1

    def describe_user(self) -> dict[str, Any]:
        """Answer ``GET /v1/user/me``.

        :return: the members of the API's page; the key in clear.
        """
        return {
            "user_id": "emulated-user",
            "email": "user@emulator.invalid",
            "plan": "pro",
            "tokens_remaining": self.credits,
            "model_trainings_remaining": 0,
            "private_model_loads_remaining": 0,
            "plan_expiry_date": None,
            "api_key": self._settings.api_key,
        }

    def describe_details(self) -> dict[str, Any]:
        """Answer ``GET /v1/user/details``.

        :return: the user, with the balance and the operations that the key allows; the page names these two, but not
            their members.
        """
        return {
            **self.describe_user(),
            "balance_remaining_usd": self.balance_usd,
            "allowed_operations": [
                "edit/image/v1",
                "background/remove/image/v1",
                "background/change/image/v1",
                "upscale/image/v1",
                "upload/image/v1",
            ],
        }
