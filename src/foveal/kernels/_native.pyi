def kernel_list() -> list[tuple[str, str]]: ...
def targets() -> list[str]: ...

class Program:
    def __init__(self, isa: str, steps: list[tuple[int, list[int]]], owner: object) -> None: ...
    def run(
        self,
        begin: int,
        end: int,
        threads: int,
        batch: int,
        lr: float,
        update: int,
        epoch: int,
        step: int,
        seed: int,
        /,
    ) -> None: ...
