# make accuracy [REPLIES=table.tsv]: measures the shipped verdict rules against a table of real replies, when there is one.
REPLIES ?= ../shared/corpora/replies/replies.tsv

$(BUILD)/tests/accuracy: $(BUILD)/obj/tests/accuracy.o $(LIB_PIO) $(LIB_BASE)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_IO) $(LIBS_BASE)

.PHONY: accuracy
accuracy: $(BUILD)/tests/accuracy
	$< $(REPLIES)
