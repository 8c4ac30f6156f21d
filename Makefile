# Five verbs, the same as in .ci/run; they use the python on your PATH. `make ci` does everything a change must pass.
VERBS = setup check test notebooks build

.PHONY: $(VERBS) ci
$(VERBS):
	@.ci/run $@
ci:
	@.ci/run
