# make accuracy [REPLIES=table.tsv]: measures verdict rules and model against a table of real replies, when there is one: in sample, and
# without the source project that a reply comes from; and against our own replies. make model: trains the model anew.
REPLIES ?= ../shared/corpora/replies/replies.tsv
OWN_REPLIES := tests/data/replies.tsv

$(BUILD)/tests/accuracy: $(BUILD)/obj/tests/accuracy.o $(LIB_PIO) $(LIB_BASE)
	@mkdir -p $(@D)
	@echo '  LD   $@'
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_IO) $(LIBS_BASE)

.PHONY: accuracy model
accuracy: $(BUILD)/tests/accuracy
	@echo "our own replies (the model was trained with them):"; $< $(OWN_REPLIES)
	@if [ -e $(REPLIES) ]; then \
	  $< $(OWN_REPLIES) --rows > $(BUILD)/own.rows && $< $(REPLIES) --rows > $(BUILD)/replies.rows && \
	  echo && echo "in sample, $(REPLIES):" && $< $(REPLIES) && echo && \
	  python3 tests/model/evaluate.py $(BUILD)/replies.rows $(BUILD)/own.rows --verbose; \
	else echo "accuracy: skipped: $(REPLIES) isn't there"; fi

model: $(BUILD)/tests/accuracy
	@test -e $(REPLIES) || { echo "model: $(REPLIES) isn't there; the model stays as it is"; exit 1; }
	@$< $(REPLIES) --rows > $(BUILD)/replies.rows && $< $(OWN_REPLIES) --rows > $(BUILD)/own.rows
	python3 tests/model/train.py proto/rules/words.model $(BUILD)/replies.rows $(BUILD)/own.rows
