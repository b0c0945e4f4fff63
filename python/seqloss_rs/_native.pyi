# The border is private; its functions are called through the typed faces beside it.
from typing import Any

__version__: str

class InternalError(RuntimeError): ...

def __getattr__(name: str) -> Any: ...
