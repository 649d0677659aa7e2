"""The catalogue of mistakes: one wrong line each, of the kind that people write, by formula."""

import of_guidance
import of_sampling

MUTANTS = [*of_guidance.MUTANTS, *of_sampling.MUTANTS]
