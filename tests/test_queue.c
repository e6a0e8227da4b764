/* test_queue.c - the queue between threads: order, bounds, closing, cancelling. */
#include "base/clock.h"
#include "base/queue.h"
#include "testing.h"

#define ITEMS 20000

static int numbers[ITEMS];

static void *produce(void *arg)
{
    struct queue *q = arg;
    for (int i = 0; i < ITEMS; i++)
        if (!queue_push(q, &numbers[i]))
            break;
    return NULL;
}

static void *consume(void *arg)
{
    struct queue *q = arg;
    void *item;
    long long sum = 0;
    while (queue_pop(q, &item))
        sum += *(int *)item;
    long long *out = malloc(sizeof *out);
    *out = sum;
    return out;
}

static void test_queue__keeps_order_and_bounds(void **state)
{
    (void)state;
    struct queue q;
    void *item;
    int a = 1, b = 2, c = 3;
    queue_init(&q, 3);
    assert_true(queue_push(&q, &a));
    assert_true(queue_push(&q, &b));
    assert_true(queue_push(&q, &c));
    assert_int_equal(queue_count(&q), 3);
    assert_true(queue_pop(&q, &item));
    assert_ptr_equal(item, &a);
    assert_true(queue_push(&q, &a));
    queue_close(&q);
    assert_false(queue_push(&q, &a));
    assert_true(queue_pop(&q, &item) && item == &b);
    assert_true(queue_pop(&q, &item) && item == &c);
    assert_true(queue_pop(&q, &item) && item == &a);
    assert_false(queue_pop(&q, &item));
    queue_release(&q, NULL);
}

/* Two producers and two consumers through two places: nothing is lost, nothing twice. */
static void test_queue__carries_everything_between_threads(void **state)
{
    (void)state;
    struct queue q;
    pthread_t in[2], out[2];
    long long expected = 0, found = 0;
    for (int i = 0; i < ITEMS; i++)
        expected += 2 * (numbers[i] = i);
    queue_init(&q, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&in[i], NULL, produce, &q), 0);
        assert_int_equal(pthread_create(&out[i], NULL, consume, &q), 0);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(in[i], NULL);
    queue_close(&q);
    for (int i = 0; i < 2; i++) {
        void *sum;
        pthread_join(out[i], &sum);
        found += *(long long *)sum;
        free(sum);
    }
    assert_true(found == expected);
    queue_release(&q, NULL);
}

static int freed;

static void count_free(void *item)
{
    (void)item;
    freed++;
}

static void test_queue__cancel_wakes_who_waits(void **state)
{
    (void)state;
    struct queue full, empty;
    pthread_t producer, consumer;
    void *sum;
    queue_init(&full, 4);
    queue_init(&empty, 4);
    assert_int_equal(pthread_create(&producer, NULL, produce, &full), 0);
    assert_int_equal(pthread_create(&consumer, NULL, consume, &empty), 0);
    clock_sleep(0.02);
    queue_cancel(&full);
    queue_cancel(&empty);
    pthread_join(producer, NULL);
    pthread_join(consumer, &sum);
    assert_int_equal(*(long long *)sum, 0);
    free(sum);
    assert_false(queue_pop(&full, &sum));
    queue_release(&full, count_free);
    queue_release(&empty, count_free);
    assert_int_equal(freed, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queue__keeps_order_and_bounds),
        cmocka_unit_test(test_queue__carries_everything_between_threads),
        cmocka_unit_test(test_queue__cancel_wakes_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
