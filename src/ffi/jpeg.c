/* Reads one JPEG file with libjpeg into memory of the caller. Errors leave libjpeg by longjmp, which stays
 * inside pixio_jpeg_read: nothing of the caller's is on the stack in between. */
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <jpeglib.h>

#include <jerror.h>

struct pixio_jpeg_shape {
  unsigned width;
  unsigned height;
  /* 1: grey, 3: red, green, blue. */
  unsigned n_channels;
  unsigned max_scans;
  /* 1 where a marker follows the file: then bytes that belong to nothing may stand before it. */
  unsigned has_end;
};

struct reader {
  struct jpeg_error_mgr errors;
  struct jpeg_source_mgr source;
  struct jpeg_progress_mgr progress;
  jmp_buf refused;
  char *message;
  int max_scans;
  int has_end;
  int has_ended;
};

static struct reader *reader_of(j_common_ptr jpeg) { return (struct reader *)jpeg->client_data; }

static void refuse(j_common_ptr jpeg) {
  struct reader *reader = reader_of(jpeg);
  jpeg->err->format_message(jpeg, reader->message);
  longjmp(reader->refused, 1);
}

static void refuse_as(j_common_ptr jpeg, const char *message) {
  struct reader *reader = reader_of(jpeg);
  snprintf(reader->message, JMSG_LENGTH_MAX, "%s", message);
  longjmp(reader->refused, 1);
}

/* A warning means that pixels were made up, unless it is one of these, which leave every pixel as coded. */
static void judge(j_common_ptr jpeg, int level) {
  if (level >= 0) return; /* A trace. */
  switch (jpeg->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA:
      /* Zeros in place of data that is lost decode as well, and leave some over. */
      if (reader_of(jpeg)->has_ended && !reader_of(jpeg)->has_end) {
        refuse_as(jpeg, "it has no end marker, and does not end where its data does");
      }
      return;
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
    case JWRN_NOT_SEQUENTIAL:
      return;
    case JWRN_HIT_MARKER:
      refuse_as(jpeg, "its coded data is cut short");
      return;
    default:
      refuse(jpeg);
  }
}

static void print_nothing(j_common_ptr jpeg) { (void)jpeg; }

static void ignore_source(j_decompress_ptr jpeg) { (void)jpeg; }

/* Behind the last byte stands one end marker. A segment that reaches beyond it is cut short. */
static boolean end_of_source(j_decompress_ptr jpeg) {
  static const JOCTET end[] = {0xff, JPEG_EOI};
  struct reader *reader = reader_of((j_common_ptr)jpeg);
  if (reader->has_ended) refuse_as((j_common_ptr)jpeg, "it breaks off inside a segment");
  reader->has_ended = 1;
  jpeg->src->next_input_byte = end;
  jpeg->src->bytes_in_buffer = sizeof end;
  return TRUE;
}

static void skip(j_decompress_ptr jpeg, long n_bytes) {
  struct jpeg_source_mgr *source = jpeg->src;
  if (n_bytes <= 0) return;
  if ((size_t)n_bytes > source->bytes_in_buffer) {
    refuse_as((j_common_ptr)jpeg, "it breaks off inside a segment");
  }
  source->next_input_byte += n_bytes;
  source->bytes_in_buffer -= (size_t)n_bytes;
}

/* Called between rows of blocks. */
static void count_scans(j_common_ptr jpeg) {
  if (((j_decompress_ptr)jpeg)->input_scan_number > reader_of(jpeg)->max_scans) {
    refuse_as(jpeg, "it has too many scans");
  }
}

/* Fills `pixels`, which has `height * width * n_channels` bytes, and returns 0; else 1 and in `message`, of
 * JMSG_LENGTH_MAX bytes, the reason. A file of another shape is refused. */
int pixio_jpeg_read(const unsigned char *file, size_t n_bytes, const struct pixio_jpeg_shape *shape,
                    unsigned char *pixels, char *message) {
  struct reader reader = {0};
  struct jpeg_decompress_struct jpeg = {0};

  jpeg.err = jpeg_std_error(&reader.errors);
  reader.errors.error_exit = refuse;
  reader.errors.emit_message = judge;
  reader.errors.output_message = print_nothing;
  reader.message = message;
  reader.max_scans = (int)shape->max_scans;
  reader.has_end = (int)shape->has_end;
  jpeg.client_data = &reader;
  if (setjmp(reader.refused)) {
    jpeg_destroy_decompress(&jpeg);
    return 1;
  }

  jpeg_create_decompress(&jpeg);
  reader.source.next_input_byte = file;
  reader.source.bytes_in_buffer = n_bytes;
  reader.source.init_source = ignore_source;
  reader.source.fill_input_buffer = end_of_source;
  reader.source.skip_input_data = skip;
  reader.source.resync_to_restart = jpeg_resync_to_restart;
  reader.source.term_source = ignore_source;
  jpeg.src = &reader.source;
  reader.progress.progress_monitor = count_scans;
  jpeg.progress = &reader.progress;

  jpeg_read_header(&jpeg, TRUE);
  jpeg.out_color_space = shape->n_channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg.dct_method = JDCT_ISLOW;
  jpeg.do_fancy_upsampling = TRUE;
  /* It makes up what later scans would have brought. */
  jpeg.do_block_smoothing = FALSE;
  jpeg_start_decompress(&jpeg);
  if (jpeg.output_width != shape->width || jpeg.output_height != shape->height ||
      jpeg.output_components != (int)shape->n_channels) {
    refuse_as((j_common_ptr)&jpeg, "it has a second header");
  }
  const size_t row_bytes = (size_t)shape->width * shape->n_channels;
  while (jpeg.output_scanline < jpeg.output_height) {
    JSAMPROW rows[16];
    const JDIMENSION left = jpeg.output_height - jpeg.output_scanline;
    const JDIMENSION n_rows = left < 16 ? left : 16;
    for (JDIMENSION i = 0; i < n_rows; i++) rows[i] = pixels + (jpeg.output_scanline + i) * row_bytes;
    jpeg_read_scanlines(&jpeg, rows, n_rows);
  }
  jpeg_finish_decompress(&jpeg);
  jpeg_destroy_decompress(&jpeg);
  return 0;
}

/* The rest is the part of libjpeg's memory manager that a system may bring (its jmemsys.h); it replaces that
 * of the archive. Large objects are mapped, so that freeing them returns them to the system at once: the heap
 * of a thread keeps tens of megabytes. */

#define MAPPED_FROM (1 << 20)

/* Before every large object; as long as the strictest alignment. */
union head {
  size_t n_mapped;
  char space[64];
};

void *jpeg_get_small(j_common_ptr jpeg, size_t n_bytes) {
  (void)jpeg;
  return malloc(n_bytes);
}

void jpeg_free_small(j_common_ptr jpeg, void *object, size_t n_bytes) {
  (void)jpeg;
  (void)n_bytes;
  free(object);
}

void *jpeg_get_large(j_common_ptr jpeg, size_t n_bytes) {
  (void)jpeg;
  const size_t n_all = n_bytes + sizeof(union head);
  union head *head;
  if (n_all < MAPPED_FROM) {
    head = malloc(n_all);
    if (!head) return NULL;
    head->n_mapped = 0;
  } else {
    head = mmap(NULL, n_all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (head == MAP_FAILED) return NULL;
    head->n_mapped = n_all;
  }
  return head + 1;
}

void jpeg_free_large(j_common_ptr jpeg, void *object, size_t n_bytes) {
  (void)jpeg;
  (void)n_bytes;
  union head *head = (union head *)object - 1;
  if (head->n_mapped) {
    munmap(head, head->n_mapped);
  } else {
    free(head);
  }
}

size_t jpeg_mem_available(j_common_ptr jpeg, size_t least, size_t most, size_t allocated) {
  (void)jpeg;
  (void)least;
  (void)allocated;
  return most;
}

/* There is no store but memory. */
void jpeg_open_backing_store(j_common_ptr jpeg, void *store, long n_bytes) {
  (void)store;
  (void)n_bytes;
  ERREXIT(jpeg, JERR_NO_BACKING_STORE);
}

long jpeg_mem_init(j_common_ptr jpeg) {
  (void)jpeg;
  return 0;
}

void jpeg_mem_term(j_common_ptr jpeg) { (void)jpeg; }
