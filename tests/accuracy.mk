# make accuracy [REPLIES=table.tsv]: measures verdict rules and model against a table of real replies, when there is one: in sample, and
# without the source project that a reply comes from; and against our own replies. make model: trains the model anew. make lint-rules: is a rule memorised?
REPLIES ?= ../shared/corpora/replies/replies.tsv
OWN_REPLIES := tests/data/replies.tsv
SERVER_REPLIES := tests/data/servers.tsv
FACTS := tests/data/facts.tsv
ROWS := $(BUILD)/replies.rows $(BUILD)/own.rows $(BUILD)/servers.rows $(BUILD)/facts.rows
write-rows = $< $(REPLIES) --rows > $(BUILD)/replies.rows && $< $(OWN_REPLIES) --rows > $(BUILD)/own.rows && \
  $< $(SERVER_REPLIES) --rows > $(BUILD)/servers.rows && $< $(FACTS) --rows > $(BUILD)/facts.rows

$(BUILD)/tests/accuracy: $(BUILD)/obj/tests/accuracy.o $(LIB_PIO) $(LIB_BASE)
	@mkdir -p $(@D)
	@echo '  LD   $@'
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_IO) $(LIBS_BASE)

.PHONY: accuracy model lint-rules
# Part of make lint: no rule may be written for one reply of the table alone, unless FACTS names it.
lint-rules: $(BUILD)/tests/accuracy
	@if [ -e $(REPLIES) ]; then $< $(REPLIES) --memorised $(FACTS); \
	else echo "lint-rules: memorised rules aren't looked for: $(REPLIES) isn't there"; fi
accuracy: $(BUILD)/tests/accuracy
	@echo "our own replies (the model was trained with them):"; $< $(OWN_REPLIES)
	@if [ -e $(REPLIES) ]; then \
	  $(write-rows) && echo && echo "in sample, $(REPLIES):" && $< $(REPLIES) && echo && \
	  python3 tests/model/evaluate.py $(ROWS) --verbose && $< $(REPLIES) --memorised $(FACTS); \
	else echo "accuracy: skipped: $(REPLIES) isn't there"; fi

model: $(BUILD)/tests/accuracy
	@test -e $(REPLIES) || { echo "model: $(REPLIES) isn't there; the model stays as it is"; exit 1; }
	@$(write-rows)
	python3 tests/model/train.py proto/rules/words.model $(ROWS)
