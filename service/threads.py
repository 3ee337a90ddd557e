"""A pool of threads that loses nothing where the system gives no more of them."""

from concurrent.futures import ThreadPoolExecutor


class Threads(ThreadPoolExecutor):
    """A pool that goes on with the threads that it has, where the system gives no more.

    The standard library's says then that it refuses the work, which stays in its queue and is done all the same.
    Raises RuntimeError where it is made and the system gives no thread at all.
    """

    def __init__(self, most: int, name: str) -> None:
        super().__init__(most, name)
        self.submit(lambda: None).result()

    def _adjust_thread_count(self) -> None:
        # Where the standard library starts a thread; it has no public place for this.
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise
