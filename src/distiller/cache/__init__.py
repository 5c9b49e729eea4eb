"""What is computed once and read again: folders by facts, rows by key, a teacher's outputs."""

from typing import TYPE_CHECKING

from distiller.exports import lazily

if TYPE_CHECKING:
    from distiller.cache.folders import FolderCache as FolderCache
    from distiller.cache.folders import cache_root as cache_root
    from distiller.cache.rows import RowCache as RowCache
    from distiller.cache.teacher_outputs import TeacherCache as TeacherCache
    from distiller.cache.teacher_outputs import build_teacher_cache as build_teacher_cache

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
