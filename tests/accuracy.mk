# make accuracy [REPLIES=table.tsv]: measures verdict rules and model against a table of real replies, when there is one: in sample, and
# without the source project that a reply comes from; and against our own replies. make model: trains the model anew. make lint-rules: is a rule memorised?
REPLIES ?= ../shared/corpora/replies/replies.tsv
OWN_REPLIES := tests/data/replies.tsv
PUBLISHED := tests/data/published.tsv
own-rows = $< $(OWN_REPLIES) --rows > $(BUILD)/own.rows && $< $(PUBLISHED) --rows > $(BUILD)/published.rows

$(BUILD)/tests/accuracy: $(BUILD)/obj/tests/accuracy.o $(LIB_PIO) $(LIB_BASE)
	@mkdir -p $(@D)
	@echo '  LD   $@'
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_IO) $(LIBS_BASE)

.PHONY: accuracy model lint-rules
# Part of make lint: no rule may be written for one reply of the table alone, unless a page that publishes it is named.
lint-rules: $(BUILD)/tests/accuracy
	@if [ -e $(REPLIES) ]; then $< $(REPLIES) --memorised $(PUBLISHED); \
	else echo "lint-rules: memorised rules aren't looked for: $(REPLIES) isn't there"; fi
accuracy: $(BUILD)/tests/accuracy
	@echo "our own replies (the model was trained with them):"; $< $(OWN_REPLIES)
	@if [ -e $(REPLIES) ]; then \
	  $(own-rows) && $< $(REPLIES) --rows $(PUBLISHED) > $(BUILD)/replies.rows && \
	  $< $(REPLIES) --rows > $(BUILD)/strict.rows && \
	  echo && echo "in sample, $(REPLIES):" && $< $(REPLIES) && echo && \
	  python3 tests/model/evaluate.py $(BUILD)/replies.rows $(BUILD)/own.rows $(BUILD)/published.rows --without $(BUILD)/strict.rows --verbose; \
	else echo "accuracy: skipped: $(REPLIES) isn't there"; fi

model: $(BUILD)/tests/accuracy
	@test -e $(REPLIES) || { echo "model: $(REPLIES) isn't there; the model stays as it is"; exit 1; }
	@$< $(REPLIES) --rows $(PUBLISHED) > $(BUILD)/replies.rows && $(own-rows)
	python3 tests/model/train.py proto/rules/words.model $(BUILD)/replies.rows $(BUILD)/own.rows $(BUILD)/published.rows
