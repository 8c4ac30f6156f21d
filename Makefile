# The verbs of .ci/run; they use the python on your PATH. `make ci` does everything a change must pass.
VERBS = setup check test notebooks docs build

.PHONY: $(VERBS) ci
$(VERBS):
	@.ci/run $@
ci:
	@.ci/run
