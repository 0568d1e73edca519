"""Where a method was published."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    authors: str
    year: int
    title: str
    venue: str = ""
    arxiv: str = ""

    def __str__(self) -> str:
        where = ", ".join(part for part in (self.venue, f"arXiv {self.arxiv}" if self.arxiv else "") if part)
        return f"{self.authors} ({self.year}). {self.title}. {where}".rstrip(". ") + "."
