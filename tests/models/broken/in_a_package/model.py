from mistk_service import AbstractModel

from .helper import ANSWER


class Packaged(AbstractModel):
    answer = ANSWER
