"""Whether this machine can train and predict: what ``magms_doctor`` looks at."""
