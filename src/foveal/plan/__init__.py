"""Plans: specs bound to memory as one list of steps."""

from foveal.plan.plan import Plan, classes_of
from foveal.plan.results import BatchResult, EvaluationResult
from foveal.plan.source import Source

__all__ = ["BatchResult", "EvaluationResult", "Plan", "Source", "classes_of"]
